import type { ViolationKind } from '../machine/violation.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import type { LimitHit, RunReport } from '../scenario/result.ts';

/** What `why` has to say of a variant, as plain data. */
export interface WhyResult {
  readonly scenario: string;
  readonly variant: string;
  readonly machineTitle: string;
  readonly model: MemoryModel;
  /** Of the variant as it is. `inconclusive`: its own exploration did not come to an end. */
  readonly verdict: 'safe' | 'fails' | 'inconclusive';
  /** Kinds of violation of the variant as it is. */
  readonly kinds: readonly ViolationKind[];
  /** Witnesses that no step of the variant as it is has shown: what would come after them was not explored. */
  readonly unseen: readonly string[];
  /** Sets of up to so many were tried. */
  readonly size: number;
  /** Only this kind of violation was asked for; null: any. */
  readonly kind: ViolationKind | null;
  /**
   * What sets were made of. Of a safe variant its protections, of a failing one what distinguishes it from the
   * scenario.
   */
  readonly items: readonly WhyItem[];
  /** Smallest sets: without it, a safe variant has the effect, and a failing one is safe. */
  readonly answers: readonly Answer[];
  /** Sets of which it is not known what happens without them, and why. */
  readonly undecided: readonly Undecided[];
  /** Sets that were not tried at all, because a limit came first. */
  readonly untried: number;
  readonly limit: LimitHit | null;
  readonly explored: {
    readonly sets: number;
    readonly runs: number;
    readonly steps: number;
    readonly ms: number;
  };
  /** Of a failing variant: the shortest run that fails, and in it what has to come before what. */
  readonly failure: Failure | null;
  readonly assumptions: readonly string[];
}

export interface WhyItem {
  readonly name: string;
  /** Items that it is always a part of: without one of them, it is not there either. */
  readonly partOf: readonly string[];
  /** It is in a set that has an effect, if not in one that is an answer (a part of it may say more). */
  readonly needed: boolean;
  /** Witnesses that are not seen without it, although nothing goes wrong. */
  readonly unseen: readonly string[];
}

export interface Answer {
  readonly n: number;
  /** `use-after-free of a page table`, or a kind of violation; `safe` of a failing variant. */
  readonly effect: string;
  readonly without: readonly string[];
  /** No part of the set has the effect; false if that could not be decided. */
  readonly minimal: boolean;
  /** One sentence: what happens; of a failing variant empty. */
  readonly message: string;
  /** Its shortest run, if it was asked for. */
  readonly run: RunReport | null;
}

export interface Undecided {
  readonly without: readonly string[];
  readonly reason: string;
}

export interface Failure {
  readonly effect: string;
  readonly run: RunReport;
  /** Numbers of steps of different CPUs: the first must come before the second, or they would not meet so. */
  readonly order: readonly (readonly [number, number])[];
}
