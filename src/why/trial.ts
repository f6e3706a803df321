import type { FoundViolation } from '../explore/exploration.ts';
import { explore } from '../explore/explore.ts';
import type { Run } from '../explore/run.ts';
import type { Violation, ViolationKind } from '../machine/violation.ts';
import type { Machine } from '../machine/machine.ts';
import { allocatedTables } from '../machine/ops/pages.ts';
import { noteParts, type Protections } from '../machine/protection.ts';
import { buildVariant, definitionOf, type Observation } from '../scenario/program.ts';
import type { Scenario } from '../scenario/scenario.ts';

/** One exploration of a variant, for all that `why` asks of it. */
export interface Trial {
  /** The first violation of each effect. */
  readonly effects: ReadonlyMap<string, Effect>;
  /** The protections that some actor came by, each with those that it is always a part of. */
  readonly protections: Protections;
  /** Witnesses that no step has shown. */
  readonly unseen: readonly string[];
  /** What ended it before its time: a limit, or `found` if nothing else was wanted. */
  readonly stopped: string | null;
  readonly runs: number;
  readonly steps: number;
}

/** An effect of taking protections away is a kind of violation; what happens to page tables is told apart. */
export interface Effect extends FoundViolation {
  readonly kind: ViolationKind;
  /** The invariant that has to be observed to see it. */
  readonly observe: Observation | undefined;
}

export interface TrialOptions {
  readonly runs: number;
  readonly steps: number;
  /** Polled; the name of a limit that was hit, or null. */
  readonly watch: (soFar: { readonly runs: number; readonly steps: number }) => string | null;
  /** Stop when all these effects have been found, or `any` at all; null: go on to the end. */
  readonly wanted: readonly string[] | 'any' | null;
  /**
   * Note where steps stand in the source, and check that actors are functions of what they receive. Takes ten
   * times as long; enough if it is done for one of many trials of the same actors.
   */
  readonly traced: boolean;
}

/** The effect of a violation: `use-after-free of a page table` is another than that of a page. */
export function effectOf({ kind, object }: Violation, tables: ReadonlySet<string>): string {
  return kind === 'use-after-free' && tables.has(object) ? OF_TABLE : kind;
}

export const OF_TABLE = 'use-after-free of a page table';

/** Explores a variant to its end, or until a limit or all that is wanted. */
export function tryVariant(scenario: Scenario, name: string, options: TrialOptions): Trial {
  const trial = new Tried(options);
  trial.explore(scenario, name);
  for (const [title, predicate] of Object.entries(definitionOf(scenario, name).always ?? {})) {
    const observe: Observation = { name: title, predicate, mode: 'always' };
    if (trial.stopped === null) trial.explore(scenario, name, observe);
  }
  return trial;
}

/** Steps of a run; more is a loop that waits for what never comes, now that something is not there. */
const LONGEST = 20_000;

class Tried implements Trial {
  readonly effects: Map<string, Effect> = new Map();
  protections: Protections = new Map();
  unseen: readonly string[] = [];
  stopped: string | null = null;
  runs = 0;
  steps = 0;
  private readonly options: TrialOptions;

  constructor(options: TrialOptions) {
    this.options = options;
  }

  explore(scenario: Scenario, name: string, observe?: Observation): void {
    const { runs, steps, watch, wanted, traced } = this.options;
    const built = buildVariant(scenario, name, { traced, ...(observe ? { observe } : {}) });
    const { machine } = built.program;
    const tables = pageTables(machine);
    let run: Run | null = null;
    const found = explore(built.program, {
      began: (begun) => (run = begun),
      maxRuns: runs - this.runs,
      maxSteps: steps - this.steps,
      watch: (soFar) => {
        const known = tables();
        const effects = [...soFar.violations.values()].map(({ violation }) =>
          effectOf(violation, known),
        );
        if (hasAll(effects, wanted)) return 'found';
        if (run && run.depth > LONGEST) return 'length';
        return watch({ runs: this.runs + soFar.runs, steps: this.steps + soFar.steps });
      },
    });
    for (const { violation, schedule } of found.violations.values()) {
      const effect = effectOf(violation, tables());
      if (!this.effects.has(effect)) {
        this.effects.set(effect, { violation, schedule, observe, kind: violation.kind });
      }
    }
    this.runs += found.runs;
    this.steps += found.steps;
    this.stopped = found.stopped ?? (found.bounded > 0 ? 'bounded' : null);
    if (observe) return;
    if (run) this.protections = protectionsOf(run);
    this.unseen = built.stepSometimes.filter((title) => !built.seen.has(title));
  }
}

function hasAll(effects: readonly string[], wanted: TrialOptions['wanted']): boolean {
  if (wanted === null) return false;
  if (wanted === 'any') return effects.length > 0;
  return wanted.every((effect) => effects.includes(effect));
}

/** Names of the frames that are page tables when the scenario begins, or were allocated as such so far. */
export function pageTables(machine: Machine): () => ReadonlySet<string> {
  const { memory, cells } = machine;
  const initial = memory.frames
    .filter((info) => info.index > 0 && cells.peek(info.level) >= 0)
    .map(({ name }) => name);
  return () => new Set([...initial, ...allocatedTables(machine)]);
}

function protectionsOf(run: Run): Protections {
  const all: Protections = new Map();
  for (const { protections } of run.allCoroutines()) {
    for (const [name, outer] of protections) noteParts(all, name, outer);
  }
  return new Map([...all].sort(([a], [b]) => (a < b ? -1 : 1)));
}
