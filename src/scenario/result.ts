import type { Site } from '../base/errors.ts';
import type { KernelConfig } from '../machine/arch.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import type { ViolationKind } from '../machine/violation.ts';

/**
 * The result of a check, as plain data. Every renderer (columns, tagged, JSON) is a function of this and of
 * nothing else; how it was found is not in here.
 */

export type Verdict = 'safe' | 'fails' | 'vacuous' | 'inconclusive';

/** One executed step of a run. */
export interface Step {
  /** 1-based row number. */
  readonly n: number;
  readonly actor: string;
  /** Diagram column: the CPU it happens on. */
  readonly column: string;
  /** Name of the machine op. */
  readonly op: string;
  /** Enclosing function activations, outermost first. The function of a leaf statement is not among them. */
  readonly frames: readonly StepFrame[];
  /** The function that executes the step as a single statement (`READ_ONCE`), or null. */
  readonly leaf: LeafCall | null;
  /** If set, the CPU does not execute this itself: printed in angle brackets instead of the statement. */
  readonly event: string | null;
  /** What was observed: `-> pteA`, `none`, `true`. */
  readonly comment: string | null;
  /** Names of the frames (tables, pages) that the step touched. */
  readonly objects: readonly string[];
  /** It depends on a step of another column of this run, or the other way round. */
  readonly meets: boolean;
  /** Where the statement stands in the source, as a stack position. */
  readonly site: Site | null;
  /** With store buffers: it stores (or does what follows earlier stores), and others do not see that yet. */
  readonly buffered?: true;
  /** With store buffers: the row number of the step whose store reaches memory in this one. */
  readonly flushes?: number;
  /** It is a row of the question that the run answers. */
  readonly asked?: true;
  /** In a run that cannot go on: it is the last of somebody who is stuck, or holds somebody up. */
  readonly holdsUp?: true;
  /** What functions that returned behind it have refused their callers. */
  readonly refusals?: readonly string[];
  /** What led to this step, beyond the order of its own actor. */
  readonly arrows?: readonly Arrow[];
  /** How the step changed the machine's state. */
  readonly changes?: readonly Change[];
  /** A sanitizer's own step: shown only if it found something. */
  readonly ghost: boolean;
  /** What it found. */
  readonly violation: ViolationReport | null;
}

/**
 * From which row a step comes: an interrupt or a callback from where it was sent or queued, the end of a wait
 * for an interrupt from what was waited for, a store that reaches memory from where it was issued.
 */
export interface Arrow {
  readonly from: number;
  readonly kind: 'interrupt' | 'acknowledgement' | 'callback' | 'store';
}

/** Something of the state: `interrupts of CPU0`, `pteA`, `pteA[1]`; in words before and after. */
export interface Change {
  readonly what: string;
  readonly before: string;
  readonly after: string;
}

export interface StepFrame {
  readonly name: string;
  /** Ordinal of the call within its actor: two activations of one function differ in it. */
  readonly call: number;
}

export interface LeafCall {
  readonly name: string;
  /** Positions of arguments that C passes by address. */
  readonly address: readonly number[];
}

export interface ViolationReport {
  readonly kind: ViolationKind;
  readonly actor: string;
  readonly object: string;
  /** One sentence: "vCPU0 reads page table pteA after vCPU1 has freed it." */
  readonly message: string;
}

export interface RunReport {
  /** Columns in scenario order; only those in which something happens. */
  readonly columns: readonly string[];
  readonly steps: readonly Step[];
  /** For a deadlock: what each blocked actor waits for ("CPU0 waits for mmap_lock, held by CPU1"). */
  readonly waiting: readonly string[];
  /** Of a livelock: all the words of which a change would let each actor that tries again go on. */
  readonly retries?: readonly { readonly actor: string; readonly words: readonly string[] }[];
  readonly violation: ViolationReport | null;
  readonly switches: number;
  /** `global`: no run with fewer switches, or as many switches and fewer steps, violates. */
  readonly minimal: 'global' | 'within-run';
  /** The schedule part of the replay token. */
  readonly schedule: string;
}

export interface Explored {
  readonly runs: number;
  readonly steps: number;
  readonly deadlocks: number;
  /** Runs given up by `assume`. */
  readonly blocked: number;
  /** Prefixes the reduction recognised as explored before. */
  readonly sleepBlocked: number;
  /** True if nothing was left out. */
  readonly exhaustive: boolean;
  /** Milliseconds; the only field that is not the same on every machine. */
  readonly ms: number;
  /** The second opinion, if it was asked for: it found the same equivalence classes and violations. */
  readonly certificate: Certificate | null;
}

/** What wakeup trees counted. */
export interface Certificate {
  readonly runs: number;
  readonly steps: number;
  readonly sleepBlocked: number;
  /** Equivalence classes. Fewer than runs if outcomes of one step touch different things. */
  readonly classes: number;
}

/** Why a search stopped before its end. */
export interface LimitHit {
  /**
   * As in `--limit`: `runs`, `steps`, `time`, `switches`, `memory`; `bounded` for a loop's bound; `interrupt` for Ctrl-C;
   * `random` and `pct` for runs chosen by chance.
   */
  readonly name: string;
  readonly value: number;
  /** Where chance began. */
  readonly seed?: number;
  /** Runs that ended at a loop's bound. */
  readonly runs?: number;
  readonly site?: Site | null;
  /** What was not tried, if it is no bound that somebody has set. */
  readonly message?: string | undefined;
}

export interface VariantResult {
  readonly scenario: string;
  /** Six hex digits: changes when the scenario or variant does. */
  readonly fingerprint: string;
  readonly variant: string;
  /** Stable short name of the machine: `x86_64.kvm_guest`. */
  readonly machine: string;
  /** For people: `x86-64 KVM guest, 2 vCPUs`. */
  readonly machineTitle: string;
  readonly model: MemoryModel;
  /** How the kernel is configured: of the scenario, the variant and the architecture. */
  readonly config: KernelConfig;
  /** Declared verdict; for `fails`, with its kinds: each of them, and no other. No kinds: any. */
  readonly expected: {
    readonly verdict: 'safe' | 'fails';
    readonly kinds: readonly ViolationKind[];
  };
  /** Ids of the specification and of bugs that the variant shows. */
  readonly shows: readonly string[];
  readonly verdict: Verdict;
  /** Verdict and kinds are as declared. */
  readonly ok: boolean;
  /** Every kind of violation found, sorted. */
  readonly kinds: readonly ViolationKind[];
  readonly explored: Explored;
  readonly sometimes: Readonly<Record<string, 'seen' | 'never'>>;
  readonly limit: LimitHit | null;
  /**
   * Patched functions that no actor ever called, and protections taken away that none has (verdict is then
   * vacuous; E201).
   */
  readonly neverCalled: readonly {
    readonly name: string;
    readonly site: Site | null;
    readonly protection?: boolean;
  }[];
  /** The minimal failing run, if any. */
  readonly run: RunReport | null;
  /** Full replay token of `run`. */
  readonly token: string | null;
  /** Parameters of the environment that are part of the question, one per entry: "host preempts vCPU0 once". */
  readonly assumptions: readonly string[];
}

/** Where a schedule that was followed in another variant stops, and why. */
export interface Stop {
  /** The step of the run followed that cannot come here. */
  readonly due: Step;
  /** Who would have to take it. */
  readonly actor: string;
  /** So many steps were taken here before; those behind are what happens instead. */
  readonly followed: number;
  readonly kind: 'waits' | 'instead' | 'finished' | 'absent';
  /** `waits`: for what, and in which function, if that is another one than that of the step. */
  readonly waitsFor: string | null;
  readonly at: string | null;
  /** `instead`: who has to wait when the actor goes on, and for what. */
  readonly held: { readonly actor: string; readonly waitsFor: string } | null;
}

/** One cell of the table of variants, machines and memory models: a result, or the reason why there is none. */
export interface MatrixCell {
  readonly scenario: string;
  readonly variant: string;
  /** Name of the architecture, as `--machine` takes it. */
  readonly machine: string;
  readonly model: MemoryModel;
  /** As the scenario declares it: of other cells nothing is expected. */
  readonly declared: boolean;
  readonly notApplicable: string | null;
  readonly result: VariantResult | null;
}

/** Gives the text of a source line (1-based), or null: then a step shows its function's name only. */
export type SourceLines = (file: string, line: number) => string | null;
