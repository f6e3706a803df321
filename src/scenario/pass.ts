import type { Exploration, Watchers } from '../explore/exploration.ts';
import { explore, type Engine } from '../explore/explore.ts';
import type { Run } from '../explore/run.ts';
import {
  ShardRunner,
  type BatchRunner,
  type Shard,
  type ShardBounds,
  type ShardResult,
} from '../explore/shards.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { calledPatches } from './facts.ts';
import { judge } from './plain.ts';
import { View } from './predicates.ts';
import { buildVariant, definitionOf, type BuiltVariant, type Observation } from './program.ts';
import { underModel, type Scenario, type Variant } from './scenario.ts';

/**
 * One exploration of a variant, with an observer or without; whole, or in shards that other threads explore,
 * each of which builds the same variant for itself.
 */
export interface PassJob {
  readonly variant: string;
  /** The memory model, which may not be the declared one. */
  readonly model: MemoryModel;
  /** The observed predicate, by its name. */
  readonly observe: { readonly name: string; readonly mode: Observation['mode'] } | null;
}

/** What a thread says of a shard. Survives a structured clone. */
export interface ShardAnswer {
  readonly result: ShardResult;
  /** Witnesses it has seen so far, and patched functions that were called. */
  readonly seen: readonly string[];
  readonly called: readonly number[];
}

/** Threads to share a search with. */
export interface ShardPool {
  /**
   * Answers come in the order of the shards; `here` explores one in this thread; `stop` is polled. A thread
   * that has to stop says so with the limit `ELSEWHERE`.
   */
  explore(
    job: PassJob,
    shards: readonly Shard[],
    here: (shard: Shard) => ShardAnswer,
    stop: () => boolean,
  ): ShardAnswer[];
}

/** The limit was hit in another thread, which knows its name. */
export const ELSEWHERE = 'elsewhere';

export interface PassOptions {
  readonly runs: number;
  readonly steps: number;
  readonly watch: (soFar: Exploration, estimate: number | null) => string | null;
  readonly engine?: Engine;
  /** Collects the names of the classes explored (then in this thread alone). */
  readonly classes?: Set<number> | undefined;
  readonly pool?: ShardPool | undefined;
}

export class Pass {
  readonly built: BuiltVariant;
  /** Indices of the patches whose function was called. */
  readonly called: Set<number> = new Set();
  run: Run | null = null;
  private readonly variant: Variant<unknown>;
  private readonly job: PassJob;
  private readonly watchers: Watchers;

  constructor(scenario: Scenario, name: string, observe?: Observation) {
    this.variant = scenario.definition.variants[name] as Variant<unknown>;
    this.job = {
      variant: name,
      model: definitionOf(scenario, name).model,
      observe: observe ? { name: observe.name, mode: observe.mode } : null,
    };
    this.built = buildVariant(scenario, name, { traced: true, ...(observe ? { observe } : {}) });
    const { program, state, seen, stateSometimes } = this.built;
    const { cells } = program.machine;
    const now = new View(program.machine, state, { get: (cell) => cells.peek(cell) });
    this.watchers = {
      stepped: () => {
        for (const [title, predicate] of stateSometimes) {
          if (!seen.has(title) && judge(title, predicate, now)) seen.add(title);
        }
      },
    };
  }

  /** Explores every run, up to the limits. */
  explore(options: PassOptions): Exploration {
    const { runs, steps, watch, engine = 'source', classes, pool } = options;
    const exploration = explore(this.built.program, {
      ...this.watchers,
      engine,
      classes,
      maxRuns: runs,
      maxSteps: steps,
      watch,
      began: (run) => {
        this.run = run;
      },
      ...(pool && !classes ? { shards: this.sharing(pool, watch) } : {}),
    });
    for (const at of calledPatches(this.variant, this.run as unknown as Run)) this.called.add(at);
    return exploration;
  }

  private sharing(pool: ShardPool, watch: PassOptions['watch']): BatchRunner {
    return (shards, here, sum) => {
      let limit: string | null = null;
      const answers = pool.explore(
        this.job,
        shards,
        (shard) => ({ result: here(shard), seen: [], called: [] }),
        () => (limit ??= watch(sum, null)) !== null,
      );
      return answers.map(({ result, seen, called }) => {
        for (const title of seen) this.built.seen.add(title);
        for (const at of called) this.called.add(at);
        if (result.found.stopped === ELSEWHERE) result.found.stopped = limit;
        return result;
      });
    };
  }

  /** The part of this pass that a thread of a pool does. */
  runner(): (shard: Shard, bounds: ShardBounds) => ShardAnswer {
    const { built, variant } = this;
    const runner = new ShardRunner(built.program, this.watchers);
    return (shard, bounds) => ({
      result: runner.explore(shard, bounds),
      seen: [...built.seen],
      called: calledPatches(variant, runner.run),
    });
  }
}

/** The pass that a job describes: what a thread of a pool makes of it. */
export function passOf(declared: Scenario, { variant, model, observe }: PassJob): Pass {
  const scenario = underModel(declared, model);
  if (!observe) return new Pass(scenario, variant);
  const { name, mode } = observe;
  return new Pass(scenario, variant, observation(scenario, variant, name, mode));
}

/** The predicate called `name` that an observer evaluates. */
export function observation(
  scenario: Scenario,
  variant: string,
  name: string,
  mode: Observation['mode'],
): Observation {
  const definition = definitionOf(scenario, variant);
  const predicate =
    mode === 'always'
      ? definition.always?.[name]
      : buildVariant(scenario, variant, { traced: false }).stateSometimes.get(name);
  if (!predicate) throw new Error(`${variant} has no state predicate '${name}'`);
  return { name, predicate, mode };
}
