import type { MemoryModel } from '../machine/store-buffers.ts';
import type { ViolationKind } from '../machine/violation.ts';
import type { LimitHit, RunReport } from '../scenario/result.ts';

/** What became of a question in one variant, as plain data. Renderers are functions of this. */
export interface AskResult {
  readonly scenario: string;
  readonly variant: string;
  readonly fingerprint: string;
  readonly machineTitle: string;
  readonly model: MemoryModel;
  /** How the question is called: its title in the scenario, or its file. */
  readonly title: string;
  /** `inconclusive`: a limit ended the search before there was an answer. */
  readonly answer: 'reachable' | 'unreachable' | 'inconclusive';
  /** The answer was expected, or nobody said what is. */
  readonly ok: boolean;
  /** What was understood otherwise than it was written. */
  readonly notes: readonly string[];
  /** The minimal run that follows the question, or that goes the longest way. */
  readonly run: RunReport | null;
  readonly token: string | null;
  /** Unreachable: how far the order gets, and what cannot come next. */
  readonly stopsAt: StopsAt | null;
  /** Reachable: who waits meanwhile, for whom, since when; what delays a free, for example. */
  readonly waits: readonly string[];
  /** Reachable: what becomes of the runs that follow the question. */
  readonly completions: Completions | null;
  readonly explored: AskExplored;
  readonly limit: LimitHit | null;
  readonly assumptions: readonly string[];
}

export interface StopsAt {
  /** Rows that the order gets through, of all that say something. */
  readonly rows: number;
  readonly of: number;
  /** The row that cannot come next, and how it is called. */
  readonly row: number;
  readonly title: string;
  /** Why, in sentences: who waits for whom since when, and what has to happen first. */
  readonly because: readonly string[];
}

export interface Completions {
  /** Complete runs that follow the question. */
  readonly runs: number;
  /** What goes wrong in some of them. */
  readonly kinds: readonly ViolationKind[];
  /** A run that follows the question and violates something. */
  readonly token: string | null;
  /** All of them were tried. */
  readonly exhaustive: boolean;
}

export interface AskExplored {
  readonly runs: number;
  readonly steps: number;
  readonly exhaustive: boolean;
  readonly ms: number;
}
