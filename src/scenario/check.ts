import { EngineFault } from '../base/errors.ts';
import { addTo, nothingExplored, type Exploration } from '../explore/exploration.ts';
import { minimalRun } from '../explore/minimal.ts';
import type { Program, Schedule } from '../explore/run.ts';
import { sample } from '../explore/sample.ts';
import { VIOLATION_KINDS, type ViolationKind } from '../machine/violation.ts';
import type { Certificate, LimitHit, RunReport, VariantResult, Verdict } from './result.ts';
import { Pass, type PassOptions, type ShardPool } from './pass.ts';
import { buildVariant, definitionOf, type Observation, type VariantDefinition } from './program.ts';
import { recordRun } from './record.ts';
import type { Scenario, Variant } from './scenario.ts';
import { formatToken } from './token.ts';
import { assumptions, columnsOf, neverCalledPatches, variantFingerprint } from './facts.ts';

/** Limits of a search. None is set unless somebody asks; a limit that was hit is always named. */
export interface Limits {
  readonly runs?: number;
  readonly steps?: number;
  /** Milliseconds. */
  readonly time?: number;
  /** Context switches: only runs with so many are tried, by the context-bounded search. */
  readonly switches?: number;
  /** Bytes of heap. */
  readonly memory?: number;
}

export interface Progress {
  readonly runs: number;
  readonly steps: number;
  readonly ms: number;
  readonly phase: string;
  /** Share of the search that may be done, from 0 to 1; an estimate, null if there is none. */
  readonly estimate: number | null;
}

export interface CheckOptions {
  readonly limits: Limits;
  readonly onProgress?: (progress: Progress) => void;
  /** Ctrl-C: polled. */
  readonly shouldStop?: () => boolean;
  /** Clock in milliseconds. */
  readonly now: () => number;
  /** Bytes of heap in use. */
  readonly heapUsed?: () => number;
  /** Threads to share the search with. */
  readonly pool?: ShardPool | undefined;
  /** Explore a second time with wakeup trees, and insist on the same answer. */
  readonly certify?: boolean;
  /** Runs by chance instead of all runs. */
  readonly hunt?: Hunt | undefined;
}

/** Runs chosen by chance, the same ones for the same seed. */
export interface Hunt {
  readonly oracle: 'random' | 'pct';
  readonly runs: number;
  readonly seed: number;
}

/** Histories of each actor that are run twice, beyond those that the search had to repeat anyway. */
const VERIFIED_HISTORIES = 100;

export const MINIMAL_SWITCHES = 12;
export const MINIMAL_STATES = 2_000_000;

export function variantNames(scenario: Scenario): string[] {
  return Object.keys(scenario.definition.variants);
}

interface Explored {
  readonly pass: Pass;
  readonly exploration: Exploration;
  readonly certificate: Certificate | null;
}

/** Explores a variant to its end, or to a limit, and says what it found. */
export function checkVariant(
  scenario: Scenario,
  name: string,
  options: CheckOptions,
): VariantResult {
  const check = new Check(scenario, name, options);
  return check.result();
}

class Check {
  private readonly scenario: Scenario;
  private readonly name: string;
  private readonly options: CheckOptions;
  private readonly definition: VariantDefinition;
  private readonly variant: Variant<unknown>;
  private readonly started: number;
  private limit: LimitHit | null = null;
  /** Kinds found, each with the observer that is needed to see it, if any. */
  private readonly kinds: Map<ViolationKind, Observation | undefined> = new Map();
  private readonly schedules: Map<ViolationKind, Schedule> = new Map();
  private readonly seen: Set<string> = new Set();

  constructor(scenario: Scenario, name: string, options: CheckOptions) {
    this.scenario = scenario;
    this.name = name;
    this.options = options;
    this.definition = definitionOf(scenario, name);
    this.variant = scenario.definition.variants[name] as Variant<unknown>;
    this.started = options.now();
  }

  result(): VariantResult {
    const { limits, hunt } = this.options;
    if (hunt) return this.byChance(hunt);
    return limits.switches === undefined ? this.exhaustive() : this.upTo(limits.switches);
  }

  /** Every run, up to the order of independent steps. */
  private exhaustive(): VariantResult {
    const main = this.pass('exploring');
    this.observe(main);
    const sometimes = this.sometimes(main);
    for (const coroutine of main.pass.run?.allCoroutines() ?? []) {
      coroutine.verify(VERIFIED_HISTORIES);
    }
    const neverCalled = this.limit ? [] : neverCalledPatches(this.variant, main.pass.called);
    const verdict = this.verdict(sometimes, neverCalled.length > 0, main.exploration.runs);
    return this.compose({
      verdict,
      explored: main.exploration,
      certificate: main.certificate,
      sometimes,
      neverCalled,
      run: verdict === 'fails' ? this.counterexample(main.exploration) : null,
    });
  }

  /** Every run of at most so many context switches, without reduction: a hunt, never a proof. */
  private upTo(switches: number): VariantResult {
    const explored = { runs: 0, steps: 0, deadlocks: 0, assumed: 0, sleepBlocked: 0 };
    let run: RunReport | null = null;
    for (const observe of [undefined, ...this.invariants()]) {
      const found = minimalRun(this.build(observe), {
        wanted: () => true,
        maxSwitches: switches,
        maxStates: Infinity,
        shouldStop: (states) => this.stopNow({ ...explored, steps: explored.steps + states }),
      });
      explored.steps += found.states;
      const kind = found.run?.violation?.kind;
      if (!found.run || !kind) continue;
      this.kinds.set(kind, observe);
      run = this.record(found.run.schedule, kind, observe, 'global');
      break;
    }
    this.limit ??= { name: 'switches', value: switches };
    const verdict = run ? 'fails' : 'inconclusive';
    return this.compose({ verdict, explored, sometimes: {}, neverCalled: [], run });
  }

  /** Runs by chance until one violates something: a hunt, never a proof. */
  private byChance(hunt: Hunt): VariantResult {
    const sum = nothingExplored();
    for (const observe of [undefined, ...this.invariants()]) {
      const found = sample(this.build(observe), {
        ...hunt,
        wanted: ({ violations }) => violations.size > 0,
        watch: (soFar) => this.watch(soFar, `by chance, seed ${hunt.seed}`),
      });
      addTo(sum, found);
      this.noteKinds(found, observe);
      if (found.stopped && found.stopped !== 'runs') this.noteLimit(found.stopped);
      if (this.kinds.size > 0) break;
    }
    this.limit ??= { name: hunt.oracle, value: hunt.runs, seed: hunt.seed };
    const verdict = this.kinds.size > 0 ? 'fails' : 'inconclusive';
    const run = verdict === 'fails' ? this.counterexample(sum) : null;
    return this.compose({ verdict, explored: sum, sometimes: {}, neverCalled: [], run });
  }

  private compose(part: {
    readonly verdict: Verdict;
    readonly explored: Pick<
      Exploration,
      'runs' | 'steps' | 'deadlocks' | 'assumed' | 'sleepBlocked'
    >;
    readonly certificate?: Certificate | null;
    readonly sometimes: VariantResult['sometimes'];
    readonly neverCalled: VariantResult['neverCalled'];
    readonly run: RunReport | null;
  }): VariantResult {
    const { verdict, explored, sometimes, neverCalled, run } = part;
    const fingerprint = variantFingerprint(this.scenario, this.name);
    const { machine } = this.definition;
    const where = { scenario: this.scenario.id, variant: this.name, fingerprint };
    return {
      ...where,
      machine: machine.name,
      machineTitle: machine.title,
      model: this.definition.model,
      config: { ...machine.arch.config, ...this.definition.config },
      expected: { verdict: this.variant.expected, kinds: this.variant.kinds },
      shows: this.variant.shows ?? [],
      verdict,
      ok: this.asExpected(verdict) && neverCalled.length === 0,
      kinds: this.foundKinds(),
      explored: {
        runs: explored.runs,
        steps: explored.steps,
        deadlocks: explored.deadlocks,
        blocked: explored.assumed,
        sleepBlocked: explored.sleepBlocked,
        exhaustive: this.limit === null,
        ms: Math.round(this.options.now() - this.started),
        certificate: part.certificate ?? null,
      },
      sometimes,
      limit: this.limit,
      neverCalled,
      run,
      token: run ? formatToken({ ...where, schedule: run.schedule }) : null,
      assumptions: assumptions(this.definition),
    };
  }

  private build(observe: Observation | undefined): Program {
    const options = { traced: true, ...(observe ? { observe } : {}) };
    return buildVariant(this.scenario, this.name, options).program;
  }

  private invariants(): Observation[] {
    return Object.entries(this.definition.always ?? {}).map(([name, predicate]): Observation => ({
      name,
      predicate,
      mode: 'always',
    }));
  }

  /** One exploration, with an observer or without. */
  private pass(phase: string, observe?: Observation): Explored {
    const { pool, certify } = this.options;
    const classes = certify ? new Set<number>() : undefined;
    const pass = new Pass(this.scenario, this.name, observe);
    const exploration = pass.explore({ ...this.bounds(phase), classes, pool });
    for (const title of pass.built.seen) this.seen.add(title);
    this.noteKinds(exploration, observe);
    if (exploration.stopped) this.noteLimit(exploration.stopped);
    else if (exploration.bounded > 0) {
      this.limit ??= {
        name: 'bounded',
        value: exploration.boundedAt?.limit ?? 0,
        runs: exploration.bounded,
        site: exploration.boundedAt?.site ?? null,
        message: exploration.boundedAt?.message,
      };
    }
    const certificate =
      classes && !exploration.stopped ? this.certify(exploration, classes, observe) : null;
    return { pass, exploration, certificate };
  }

  private bounds(phase: string): PassOptions {
    const { runs = Infinity, steps = Infinity } = this.options.limits;
    return { runs, steps, watch: (soFar, estimate) => this.watch(soFar, phase, estimate) };
  }

  private noteKinds({ violations }: Exploration, observe: Observation | undefined): void {
    for (const { violation, schedule } of violations.values()) {
      if (this.kinds.has(violation.kind)) continue;
      this.kinds.set(violation.kind, observe);
      this.schedules.set(violation.kind, schedule);
    }
  }

  /** The second opinion. It shares the machine with the first, and nothing of how runs are chosen. */
  private certify(
    first: Exploration,
    classes: ReadonlySet<number>,
    observe: Observation | undefined,
  ): Certificate | null {
    const others = new Set<number>();
    const pass = new Pass(this.scenario, this.name, observe);
    const bounds = { ...this.bounds('certifying'), runs: Infinity };
    const second = pass.explore({ ...bounds, engine: 'optimal', classes: others });
    if (second.stopped) {
      this.noteLimit(second.stopped);
      return null;
    }
    const differ = [...classes].some((name) => !others.has(name)) || others.size !== classes.size;
    const found = ({ violations }: Exploration): string => [...violations.keys()].sort().join('\n');
    if (differ || found(first) !== found(second)) {
      throw new EngineFault(
        `source sets find ${classes.size} classes of runs in ${this.name}, wakeup trees ${others.size}, or other violations in them`,
      );
    }
    const { runs, steps, sleepBlocked } = second;
    return { runs, steps, sleepBlocked, classes: others.size };
  }

  private noteLimit(name: string): void {
    const { limits } = this.options;
    const value = name in limits ? (limits[name as keyof Limits] ?? 0) : 0;
    this.limit = { name, value };
  }

  /** Polled during every search: reports progress, and names the limit that was hit, if any. */
  private watch(
    soFar: Pick<Exploration, 'runs' | 'steps'>,
    phase: string,
    estimate: number | null = null,
  ): string | null {
    const { limits, now, heapUsed, shouldStop, onProgress } = this.options;
    const ms = now() - this.started;
    onProgress?.({ runs: soFar.runs, steps: soFar.steps, ms, phase, estimate });
    if (shouldStop?.()) return 'interrupt';
    if (limits.time !== undefined && ms > limits.time) return 'time';
    if (limits.memory !== undefined && heapUsed && heapUsed() > limits.memory) return 'memory';
    return null;
  }

  private stopNow(soFar: Pick<Exploration, 'runs' | 'steps'>): boolean {
    const { steps = Infinity } = this.options.limits;
    const limit = soFar.steps >= steps ? 'steps' : this.watch(soFar, 'by context switches');
    if (limit) this.noteLimit(limit);
    return limit !== null;
  }

  /** Observer passes: every `always`, and the state predicates under `sometimes` not yet seen. */
  private observe(main: Explored): void {
    for (const invariant of this.invariants()) {
      if (this.limit) return;
      this.pass(`always '${invariant.name}'`, invariant);
    }
    for (const [title, predicate] of main.pass.built.stateSometimes) {
      if (this.limit) return;
      if (this.seen.has(title)) continue;
      this.pass(`sometimes '${title}'`, {
        name: title,
        predicate: predicate,
        mode: 'sometimes',
      });
    }
  }

  private sometimes(main: Explored): Record<string, 'seen' | 'never'> {
    const titles = [...main.pass.built.stepSometimes, ...main.pass.built.stateSometimes.keys()];
    return Object.fromEntries(
      titles.map((title) => [title, this.seen.has(title) ? 'seen' : 'never'] as const),
    );
  }

  private foundKinds(): ViolationKind[] {
    return VIOLATION_KINDS.filter((kind) => this.kinds.has(kind));
  }

  private verdict(sometimes: Record<string, string>, patchUnused: boolean, runs: number): Verdict {
    if (this.kinds.size > 0) return 'fails';
    if (this.limit) return 'inconclusive';
    const empty = patchUnused || runs === 0 || Object.values(sometimes).includes('never');
    return empty ? 'vacuous' : 'safe';
  }

  private asExpected(verdict: Verdict): boolean {
    if (verdict !== this.variant.expected) return false;
    if (verdict === 'safe') return true;
    const found = this.foundKinds();
    const { kinds } = this.variant;
    if (kinds.length === 0) return true;
    return (
      found.every((kind) => kinds.includes(kind)) && kinds.every((kind) => found.includes(kind))
    );
  }

  /** The minimal run of the kind that matters most: one nobody declared, else the first declared. */
  private counterexample(explored: Exploration): RunReport {
    const found = this.foundKinds();
    const undeclared = found.find((kind) => !this.variant.kinds.includes(kind));
    const kind = undeclared ?? this.variant.kinds.find((each) => found.includes(each)) ?? found[0];
    const observe = kind ? this.kinds.get(kind) : undefined;
    const { run } = minimalRun(this.build(observe), {
      wanted: (violation) => violation.kind === kind,
      maxSwitches: MINIMAL_SWITCHES,
      maxStates: MINIMAL_STATES,
      shouldStop: () => this.watch(explored, 'looking for the shortest run') !== null,
    });
    if (run) return this.record(run.schedule, kind, observe, 'global');
    const first = [...explored.violations.values()].find(
      ({ violation }) => violation.kind === kind,
    );
    const schedule = first?.schedule ?? this.schedules.get(kind ?? 'property');
    if (!schedule) throw new EngineFault(`no run that shows ${kind ?? 'a violation'}`);
    return this.record(schedule, kind, observe, 'within-run');
  }

  /** Writes the run down, and insists that it shows what it was found for. */
  private record(
    schedule: Schedule,
    kind: ViolationKind | undefined,
    observe: Observation | undefined,
    minimal: RunReport['minimal'],
  ): RunReport {
    const run = recordRun(this.build(observe), schedule, {
      columns: columnsOf(this.definition),
      minimal,
      kind: kind ?? null,
      observer: Math.max(0, Object.keys(this.definition.always ?? {}).indexOf(observe?.name ?? '')),
    });
    if (run.violation?.kind !== kind) throw new EngineFault('the run drawn is not the run found');
    return run;
  }
}
