import { GracewalkError } from '../base/errors.ts';
import { explore, type Exploration } from '../explore/explore.ts';
import { minimalRun } from '../explore/minimal.ts';
import type { Program, Run as ExplorerRun } from '../explore/run.ts';
import { siteOf } from '../machine/coroutine.ts';
import { VIOLATION_KINDS, type ViolationKind } from '../machine/violation.ts';
import type { LimitHit, RunReport, VariantResult, Verdict } from '../report/result.ts';
import { View, type StatePredicate } from './predicates.ts';
import { buildVariant, definitionOf, type BuiltVariant, type Observation } from './program.ts';
import { recordRun, replayRun } from './record.ts';
import type { Scenario, ScenarioDefinition, Variant } from './scenario.ts';
import { formatToken } from './token.ts';

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
}

/** Histories of each actor that are run twice, beyond those that the search had to repeat anyway. */
const VERIFIED_HISTORIES = 100;

const MINIMAL_SWITCHES = 12;
const MINIMAL_STATES = 2_000_000;

export function variantNames(scenario: Scenario): string[] {
  return Object.keys(scenario.definition.variants);
}

/** Six hex digits over everything that says what the variant is, except library code. */
export function variantFingerprint(scenario: Scenario, name: string): string {
  const definition = definitionOf(scenario, name);
  const { machine, run, config, alloc, setup } = definition;
  const variant = scenario.definition.variants[name] as Variant<unknown>;
  const parts = [
    scenario.id,
    name,
    machine.name,
    machine.cpus.map((cpu) => cpu.name).join(),
    JSON.stringify([machine.preempt, config, alloc, definition.foreign]),
    setup.toString(),
    ...Object.entries(run).map(([key, body]) => `${key}:${body.toString()}`),
    ...(variant.patches ?? []).map(
      (patch) => `${patch.target.title}:${patch.replacement.toString()}`,
    ),
  ];
  let hash = 0x811c9dc5;
  for (const char of parts.join('\n')) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  return (hash >>> 8).toString(16).padStart(6, '0');
}

interface Pass {
  readonly built: BuiltVariant;
  readonly exploration: Exploration;
  readonly run: ExplorerRun;
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
  private readonly definition: ScenarioDefinition<unknown>;
  private readonly variant: Variant<unknown>;
  private readonly started: number;
  private limit: LimitHit | null = null;
  /** Kinds found, each with the observer that is needed to see it, if any. */
  private readonly kinds: Map<ViolationKind, Observation | undefined> = new Map();
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
    const main = this.pass('exploring');
    this.observe(main);
    const sometimes = this.sometimes(main);
    for (const coroutine of main.run.allCoroutines()) coroutine.verify(VERIFIED_HISTORIES);
    const neverCalled = this.limit ? [] : neverCalledPatches(this.variant, main.run);
    const verdict = this.verdict(sometimes, neverCalled.length > 0);
    const run = verdict === 'fails' ? this.counterexample(main) : null;
    const { exploration } = main;
    const fingerprint = variantFingerprint(this.scenario, this.name);
    const { machine } = this.definition;
    return {
      scenario: this.scenario.id,
      fingerprint,
      variant: this.name,
      machine: machine.name,
      machineTitle: machine.title,
      model: 'sc',
      expected: { verdict: this.variant.expected, kinds: this.variant.kinds },
      verdict,
      ok: this.asExpected(verdict) && neverCalled.length === 0,
      kinds: this.foundKinds(),
      explored: {
        runs: exploration.runs,
        steps: exploration.steps,
        deadlocks: exploration.deadlocks,
        blocked: exploration.assumed,
        sleepBlocked: exploration.sleepBlocked,
        exhaustive: this.limit === null,
        ms: Math.round(this.options.now() - this.started),
      },
      sometimes,
      limit: this.limit,
      neverCalled,
      run,
      token: run
        ? formatToken({
            scenario: this.scenario.id,
            variant: this.name,
            fingerprint,
            schedule: run.schedule,
          })
        : null,
      assumptions: assumptions(this.definition),
    };
  }

  /** One exploration, with an observer or without. */
  private pass(phase: string, observe?: Observation): Pass {
    const built = buildVariant(this.scenario, this.name, {
      traced: true,
      ...(observe ? { observe } : {}),
    });
    let running: ExplorerRun | null = null;
    const peeked = new View(built.program.machine, built.state, {
      get: (cell) => built.program.machine.cells.peek(cell),
    });
    const { limits } = this.options;
    const exploration = explore(built.program, {
      ...(limits.runs === undefined ? {} : { maxRuns: limits.runs }),
      watch: (soFar) => this.watch(soFar, phase),
      began: (run) => {
        running = run;
      },
      stepped: () => {
        for (const [title, predicate] of built.stateSometimes) {
          if (!built.seen.has(title) && predicate(peeked)) built.seen.add(title);
        }
      },
    });
    for (const title of built.seen) this.seen.add(title);
    for (const { violation } of exploration.violations.values()) {
      if (!this.kinds.has(violation.kind)) this.kinds.set(violation.kind, observe);
    }
    if (exploration.stopped) this.noteLimit(exploration.stopped);
    else if (exploration.bounded > 0) {
      this.limit ??= {
        name: 'bounded',
        value: exploration.boundedAt?.limit ?? 0,
        runs: exploration.bounded,
        site: exploration.boundedAt?.node ? (siteOf(exploration.boundedAt.node) ?? null) : null,
      };
    }
    return { built, exploration, run: running as unknown as ExplorerRun };
  }

  private noteLimit(name: string): void {
    const { limits } = this.options;
    const value = name in limits ? (limits[name as keyof Limits] ?? 0) : 0;
    this.limit = { name, value };
  }

  private watch(soFar: Exploration, phase: string): string | null {
    const { limits, now, heapUsed, shouldStop, onProgress } = this.options;
    const ms = now() - this.started;
    onProgress?.({ runs: soFar.runs, steps: soFar.steps, ms, phase });
    if (shouldStop?.()) return 'interrupt';
    if (limits.time !== undefined && ms > limits.time) return 'time';
    if (limits.steps !== undefined && soFar.steps >= limits.steps) return 'steps';
    if (limits.memory !== undefined && heapUsed && heapUsed() > limits.memory) return 'memory';
    return null;
  }

  /** Observer passes: every `always`, and the state predicates under `sometimes` not yet seen. */
  private observe(main: Pass): void {
    for (const [title, predicate] of Object.entries(this.definition.always ?? {})) {
      if (this.limit) return;
      this.pass(`always '${title}'`, { name: title, predicate, mode: 'always' });
    }
    for (const [title, predicate] of main.built.stateSometimes) {
      if (this.limit) return;
      if (this.seen.has(title)) continue;
      this.pass(`sometimes '${title}'`, {
        name: title,
        predicate: predicate,
        mode: 'sometimes',
      });
    }
  }

  private sometimes(main: Pass): Record<string, 'seen' | 'never'> {
    const titles = [...main.built.stepSometimes, ...main.built.stateSometimes.keys()];
    return Object.fromEntries(
      titles.map((title) => [title, this.seen.has(title) ? 'seen' : 'never'] as const),
    );
  }

  private foundKinds(): ViolationKind[] {
    return VIOLATION_KINDS.filter((kind) => this.kinds.has(kind));
  }

  private verdict(sometimes: Record<string, string>, patchUnused: boolean): Verdict {
    if (this.kinds.size > 0) return 'fails';
    if (this.limit) return 'inconclusive';
    return patchUnused || Object.values(sometimes).includes('never') ? 'vacuous' : 'safe';
  }

  private asExpected(verdict: Verdict): boolean {
    if (verdict !== this.variant.expected) return false;
    if (verdict === 'safe') return true;
    const found = this.foundKinds();
    const { kinds } = this.variant;
    return (
      found.every((kind) => kinds.includes(kind)) && kinds.every((kind) => found.includes(kind))
    );
  }

  /** The minimal run of the kind that matters most: one nobody declared, else the first declared. */
  private counterexample(main: Pass): RunReport {
    const found = this.foundKinds();
    const undeclared = found.find((kind) => !this.variant.kinds.includes(kind));
    const kind = undeclared ?? this.variant.kinds.find((each) => found.includes(each)) ?? found[0];
    const observe = kind ? this.kinds.get(kind) : undefined;
    const build = (): Program =>
      buildVariant(this.scenario, this.name, { traced: true, ...(observe ? { observe } : {}) })
        .program;
    const { run } = minimalRun(build(), {
      wanted: (violation) => violation.kind === kind,
      maxSwitches: MINIMAL_SWITCHES,
      maxStates: MINIMAL_STATES,
      ...(this.options.shouldStop ? { shouldStop: this.options.shouldStop } : {}),
    });
    const columns = columnsOf(this.definition);
    if (run)
      return recordRun(build(), run.schedule, { columns, minimal: 'global', kind: kind ?? null });
    const first = [...main.exploration.violations.values()].find(
      ({ violation }) => violation.kind === kind,
    );
    if (!first) throw new GracewalkError('E900', 'a violation without a run', {});
    return recordRun(build(), first.schedule, {
      columns,
      minimal: 'within-run',
      kind: kind ?? null,
    });
  }
}

function columnsOf(definition: ScenarioDefinition<unknown>): string[] {
  return [
    ...new Set([
      ...Object.keys(definition.run),
      ...definition.machine.cpus.map(({ name }) => name),
      'elsewhere',
    ]),
  ];
}

function neverCalledPatches(
  variant: Variant<unknown>,
  run: ExplorerRun,
): VariantResult['neverCalled'][number][] {
  const called = new Set<unknown>();
  for (const coroutine of run.allCoroutines()) {
    for (const fn of coroutine.entered) called.add(fn);
  }
  return (variant.patches ?? [])
    .filter(({ target }) => !called.has(target))
    .map(({ target, site }) => ({ name: target.title, site }));
}

/** Parameters of the environment: part of the question, so printed with the answer. */
function assumptions(definition: ScenarioDefinition<unknown>): string[] {
  const { machine, alloc } = definition;
  const list = [`sequential consistency`, `${machine.cpus.length} CPUs`];
  for (const [name, times] of Object.entries(machine.preempt)) {
    list.push(`the host preempts ${name} ${times === 1 ? 'once' : `${times} times`}, anywhere`);
  }
  const { foreign = 0 } = definition;
  if (foreign > 0)
    list.push(`${foreign} freed frame${foreign === 1 ? '' : 's'} may go to another owner`);
  if (alloc?.GFP_NOWAIT === 'fails') list.push('GFP_NOWAIT allocations fail');
  if (alloc?.GFP_NOWAIT === 'either') list.push('GFP_NOWAIT allocations may fail');
  return list;
}

/** Follows the schedule of a token in the present version of the scenario. */
export function replayToken(scenario: Scenario, name: string, schedule: string): RunReport {
  const definition = definitionOf(scenario, name);
  const observed = Object.entries(definition.always ?? {})[0];
  const usesObserver = /(^|\.)o[A-Z]/.test(schedule) && observed;
  const { program } = buildVariant(scenario, name, {
    traced: true,
    ...(usesObserver
      ? { observe: { name: observed[0], predicate: observed[1], mode: 'always' as const } }
      : {}),
  });
  return replayRun(program, schedule, {
    columns: columnsOf(definition),
    minimal: 'global',
    kind: null,
  });
}
