import type { ErrorDetails } from '../base/errors.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import type { AskResult } from '../ask/result.ts';
import type { Followed } from '../report/follow.ts';
import type { ImportedStep } from '../scenario/import.ts';
import type { ViolationKind } from '../machine/violation.ts';
import type { MatrixCell, RunReport, VariantResult } from '../scenario/result.ts';
import type { MessagePort } from 'node:worker_threads';
import type { Hunt, Limits, Progress } from '../scenario/check.ts';
import type { WhyResult } from '../why/result.ts';

/**
 * What passes between the main thread (arguments, signals, output) and the worker (scenarios and search).
 * The search never gives way to an event loop, so it needs a thread of its own if Ctrl-C is to be heard.
 * Everything here survives a structured clone; errors travel as data.
 */

export type Job = CheckJob | ReplayJob | MatrixJob | WhyJob | AskJob | DescribeJob;

export interface CheckJob {
  readonly kind: 'check';
  readonly files: readonly string[];
  /** Names of variants, spaces optional; none means all. */
  readonly variants: readonly string[];
  /** The memory model for all of them; null: as they declare. */
  readonly model: MemoryModel | null;
  readonly limits: Limits;
  /** Threads that search. */
  readonly jobs: number;
  readonly certify: boolean;
  readonly hunt?: Hunt | undefined;
  /** What is expected of every variant, if it is not what the scenario declares. */
  readonly expect?: Expectation | undefined;
}

export interface MatrixJob {
  readonly kind: 'matrix';
  readonly files: readonly string[];
  readonly variants: readonly string[];
  /** Names of architectures; none: those that the scenarios declare. */
  readonly machines: readonly string[];
  readonly models: readonly MemoryModel[];
  readonly limits: Limits;
}

/** What scenarios say about themselves, without exploring anything. */
export interface DescribeJob {
  readonly kind: 'describe';
  readonly files: readonly string[];
}

export interface Exhibit {
  readonly id: string;
  readonly title: string | null;
  readonly citation: string | null;
  readonly story: string | null;
  readonly variants: readonly string[];
}

export interface WhyJob {
  readonly kind: 'why';
  readonly file: string;
  readonly variant: string;
  /** Null: as the variant declares. */
  readonly model: MemoryModel | null;
  /** Time is for the whole; runs and steps are for each set. */
  readonly limits: Limits;
  readonly size: number;
  /** The kind of violation that is asked about; null: any. */
  readonly violation: ViolationKind | null;
  /** Numbers of the answers whose runs are wanted. */
  readonly show: readonly number[];
}

export type Expectation = VariantResult['expected'];

export interface ReplayJob {
  readonly kind: 'replay';
  readonly file: string;
  readonly wanted: ReplayWanted;
  /** Null: as the variant declares, or as its token's fingerprint says. */
  readonly model: MemoryModel | null;
  /** Name of an architecture; null: as declared. */
  readonly machine: string | null;
  /** The variant to follow the schedule in; null: its own. */
  readonly on: string | null;
  /** Search for the shortest run that violates in the same way. */
  readonly minimize: boolean;
}

/** A run as its token names it, or as a JSON document tells it. */
export interface ReplayWanted {
  readonly token: string | null;
  readonly scenario: string;
  readonly variant: string;
  readonly kind: ViolationKind | null;
  /** What it is about: for a property its name. */
  readonly object: string | null;
  /** Empty if there is a token only. */
  readonly steps: readonly ImportedStep[];
}

export interface AskJob {
  readonly kind: 'ask';
  readonly file: string;
  readonly variants: readonly string[];
  readonly model: MemoryModel | null;
  readonly limits: Limits;
  readonly fixTypos: boolean;
  readonly expected: AskResult['answer'] | null;
  /** The text of a question; the title of one in the scenario; null: all of these. */
  readonly question: { readonly name: string; readonly text: string } | string | null;
}

export interface WorkerInput {
  readonly job: Job;
  /** One Int32: not zero asks the search to stop. */
  readonly stop: SharedArrayBuffer;
  /** One Int32: not zero says that a thread which the search waits for has died. */
  readonly died: SharedArrayBuffer;
}

export type Message =
  | { readonly kind: 'loading'; readonly file: string }
  | { readonly kind: 'planned'; readonly variants: readonly PlannedVariant[] }
  | {
      readonly kind: 'progress';
      readonly scenario: string;
      readonly variant: string;
      readonly progress: Progress;
    }
  | { readonly kind: 'result'; readonly file: string; readonly result: VariantResult }
  | { readonly kind: 'replayed'; readonly replayed: Replayed }
  | { readonly kind: 'reasons'; readonly result: WhyResult }
  | { readonly kind: 'asked'; readonly file: string; readonly result: AskResult }
  | { readonly kind: 'cell'; readonly cell: MatrixCell }
  | { readonly kind: 'exhibit'; readonly exhibit: Exhibit }
  | {
      readonly kind: 'failed';
      readonly error: ReportedError;
      /** Null if the error is about an argument, or nobody knows. */
      readonly file: string | null;
      /** Which could not be checked; null if the error is about more than one variant. */
      readonly variant: string | null;
    }
  | { readonly kind: 'done' };

/** The search is large: start the other threads, each with one of these. */
export interface ShareRequest {
  readonly kind: 'share';
  readonly ports: readonly MessagePort[];
}

export interface PlannedVariant {
  readonly file: string;
  readonly scenario: string;
  readonly variant: string;
}

export interface Replayed {
  readonly scenario: string;
  readonly variant: string;
  readonly token: string;
  readonly run: RunReport;
  /** The fingerprint as it is now, if the token has another one. */
  readonly otherVersion: string | null;
  readonly followed: Followed | null;
  /** With --minimize: what it was before, or why that is not known. */
  readonly before: { readonly switches: number; readonly steps: number } | string | null;
}

/** An error as data. */
export interface ReportedError {
  /** Null: a fault of gracewalk, not of its input. */
  readonly code: string | null;
  readonly what: string;
  readonly details: ErrorDetails;
  /** For --debug. */
  readonly stack: string | null;
  /** The program ran out of memory: a limit like any other (exit 3). */
  readonly memory?: boolean;
}
