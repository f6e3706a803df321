import type { Exploration } from '../explore/exploration.ts';
import { explore } from '../explore/explore.ts';
import { endViolations } from '../explore/ends.ts';
import { minimalRun, type MinimalResult } from '../explore/minimal.ts';
import {
  Run,
  type Program,
  type RunEnding,
  type Schedule,
  type StepCheck,
} from '../explore/run.ts';
import { sample } from '../explore/sample.ts';
import { STOPPED } from '../machine/actor.ts';
import type { ViolationKind } from '../machine/violation.ts';
import { buildVariant, type Observation } from '../scenario/program.ts';
import type { Scenario } from '../scenario/scenario.ts';
import { Pattern, type Item } from './pattern.ts';
import { signsOf } from './signs.ts';

/** The searches that a question needs, each over a machine of its own. */

/** A variant as it is searched for a question. */
export interface Asked {
  readonly program: Program;
  readonly pattern: Pattern;
}

export interface Asking {
  readonly scenario: Scenario;
  readonly variant: string;
  readonly items: readonly Item[];
  /** Which items happen at most once in a run. */
  readonly once: readonly boolean[];
}

export function askedVariant(
  { scenario, variant, items, once }: Asking,
  observe?: Observation,
): Asked {
  const { program } = buildVariant(scenario, variant, {
    traced: true,
    ...(observe ? { observe } : {}),
  });
  const pattern = new Pattern(program.machine, items, once);
  return { program: { ...program, stepChecks: [pattern.check] }, pattern };
}

/** Some runs by chance, most of them with few switches at places where that matters. */
export function sampled(
  scenario: Scenario,
  variant: string,
  check: StepCheck,
  ended: () => void = () => {},
): void {
  for (const oracle of ['random', 'pct'] as const) {
    const { program } = buildVariant(scenario, variant, { traced: false });
    sample(
      { ...program, stepChecks: [check] },
      {
        oracle,
        seed: 1,
        runs: SAMPLED_RUNS,
        wanted: () => false,
        ended,
        watch: ({ steps }) => (steps > SAMPLED_STEPS ? 'steps' : null),
      },
    );
  }
}

const SAMPLED_RUNS = 48;
/** Where somebody waits by reading again and again, chance may not end a run. */
const SAMPLED_STEPS = 100_000;

/** The same program, with somebody who looks at every step. Where steps stand in the source he does not ask. */
export function watched(scenario: Scenario, variant: string, check: StepCheck): Program {
  const { program } = buildVariant(scenario, variant, { traced: false });
  return { ...program, stepChecks: [check] };
}

/** Which items are seen at most once in each of some runs. */
export function seenOnce(
  scenario: Scenario,
  variant: string,
  items: readonly Item[],
): readonly boolean[] {
  const once = items.map(() => true);
  let counts = items.map(() => 0);
  const check: StepCheck = (machine, step) => {
    for (const sign of signsOf(machine, step)) {
      for (const [at, { column, matches }] of items.entries()) {
        if (column !== null && column !== step.who.column) continue;
        if (!matches(sign)) continue;
        counts[at] = (counts[at] ?? 0) + 1;
        if ((counts[at] ?? 0) > 1) once[at] = false;
      }
    }
  };
  sampled(scenario, variant, check, () => (counts = items.map(() => 0)));
  return once;
}

/** Which steps of a run (from 1) are rows of the question. */
export function stepsAskedFor({ program, pattern }: Asked, schedule: Schedule): Set<number> {
  const run = new Run(program);
  const asked = new Set<number>();
  for (const [at, local] of schedule.actors.entries()) {
    const before = pattern.seen;
    run.execute(run.created()[local] as number, schedule.outcomes[at] as number);
    if (pattern.seen > before) asked.add(run.depth);
  }
  return asked;
}

export interface HuntLimits {
  readonly switches: number;
  readonly states: number;
  readonly stop: (states: number) => boolean;
}

/**
 * The run with the fewest context switches, and then the fewest steps, that comes to the goal. It ends there.
 * Without one, nothing is proven.
 */
export function hunt(
  { program, pattern }: Asked,
  judge: (pattern: Pattern) => 'goal' | 'hopeless' | null,
  { switches, states, stop }: HuntLimits,
): MinimalResult {
  return minimalRun(program, {
    wanted: () => false,
    judge: () => judge(pattern),
    maxSwitches: switches,
    maxStates: states,
    shouldStop: stop,
  });
}

/** What all runs together say of a question. */
export interface Survey {
  /** What it has learnt of the question's items. */
  readonly pattern: Pattern;
  readonly exploration: Exploration;
  /** Complete runs that follow the question, and the kinds of violation in them with a run for each. */
  readonly following: number;
  readonly kinds: ReadonlyMap<ViolationKind, Schedule>;
  /** A run that follows the question, up to the last of its rows. */
  readonly reached: Schedule | null;
  /** How far a run comes that does not stray, and one that comes so far. */
  readonly furthest: number;
  readonly furthestRun: Schedule;
}

const NO_STEPS: Schedule = { actors: [], outcomes: [] };

/** Explores every run, up to the order of steps that neither each other nor the question depends on. */
export function survey(
  { program, pattern }: Asked,
  options: {
    readonly runs: number;
    readonly steps: number;
    readonly watch: (soFar: Exploration, estimate: number | null) => string | null;
  },
): Survey {
  const surveyor = new Surveyor(pattern);
  const exploration = explore(program, {
    stepped: (run) => surveyor.stepped(run),
    led: (run) => surveyor.stepped(run),
    ended: (run, ending) => surveyor.ended(run, ending),
    maxRuns: options.runs,
    maxSteps: options.steps,
    watch: options.watch,
  });
  return {
    pattern,
    exploration,
    following: surveyor.following,
    kinds: surveyor.kinds,
    reached: surveyor.reached,
    furthest: surveyor.furthest,
    furthestRun: surveyor.furthestRun,
  };
}

class Surveyor {
  following = 0;
  readonly kinds: Map<ViolationKind, Schedule> = new Map();
  reached: Schedule | null = null;
  furthest = 0;
  furthestRun: Schedule = NO_STEPS;
  private readonly pattern: Pattern;
  /** Kinds found in each step of the present run. */
  private readonly found: (readonly ViolationKind[])[] = [];

  constructor(pattern: Pattern) {
    this.pattern = pattern;
  }

  stepped(run: Run): void {
    const { pattern } = this;
    this.found[run.depth - 1] = run.found.map(({ kind }) => kind);
    if (pattern.straight > this.furthest) {
      this.furthest = pattern.straight;
      this.furthestRun = run.schedule();
    }
    if (this.reached === null && pattern.isComplete) this.reached = run.schedule();
  }

  ended(run: Run, ending: RunEnding): void {
    if (ending === 'assumed') return;
    if (this.pattern.isComplete) this.following++;
    else if (!this.isCutShort(run)) return;
    const atEnd = endViolations(run, ending).map(({ kind }) => kind);
    for (const kind of [...this.found.slice(0, run.depth).flat(), ...atEnd]) {
      if (!this.kinds.has(kind)) this.kinds.set(kind, run.schedule());
    }
  }

  /** All that is missing are rows of somebody whom a violation has stopped before he could come to them. */
  private isCutShort({ machine, order }: Run): boolean {
    const { pattern } = this;
    if (pattern.strayed || pattern.seen === 0) return false;
    const missing = new Set(pattern.items.slice(pattern.seen).map(({ column }) => column));
    if (missing.size !== 1) return false;
    return order.some((index) => {
      const isStopped = machine.cells.peek(machine.cellsOf(index).status) === STOPPED;
      return isStopped && missing.has(machine.actor(index).column);
    });
  }
}
