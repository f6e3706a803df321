import { Counter, addTo, nothingExplored, type Exploration, type Watchers } from './exploration.ts';
import { Plain } from './plain.ts';
import { Run, type Program } from './run.ts';
import { SearchStopped, search, type SearchHooks, type Strategy } from './search.ts';
import {
  ShardRunner,
  ShardedSearch,
  inThisThread,
  type BatchRunner,
  type Shard,
  type ShardResult,
  type ShardSizes,
} from './shards.ts';
import type { PlantedMistakes } from './source-sets.ts';
import { FootprintShift, WakeupTrees } from './wakeup-trees.ts';

export type { Exploration, FoundViolation } from './exploration.ts';

/**
 * `source`: source sets. `optimal`: wakeup trees, an independent second opinion. `plain`: every interleaving.
 */
export type Engine = 'source' | 'optimal' | 'plain';

export interface ExploreOptions extends Watchers {
  readonly engine?: Engine;
  readonly mistakes?: PlantedMistakes;
  /** Called before the first step; again if the search starts again (wakeup trees may, see there). */
  readonly began?: (run: Run) => void;
  /** Called every 1024 steps: returns the name of a limit that was hit, or null. */
  readonly watch?: (soFar: Exploration, estimate: number | null) => string | null;
  readonly maxRuns?: number;
  readonly maxSteps?: number;
  /** Explores shards in several threads (source sets only). The same shards as without it. */
  readonly shards?: BatchRunner;
  /** How large shards are: for tests. */
  readonly sizes?: ShardSizes;
}

/** Explores every run of `program`, up to equivalence unless `engine` is `plain`. */
export function explore(program: Program, options: ExploreOptions = {}): Exploration {
  const { engine = 'source' } = options;
  if (engine === 'source') return exploreShards(program, options);
  if (engine === 'plain') return exploreWith(program, options, Plain);
  try {
    return exploreWith(program, options, WakeupTrees);
  } catch (error) {
    if (!(error instanceof FootprintShift)) throw error;
    options.classes?.clear();
    return exploreWith(program, options, ShiftingTrees);
  }
}

class ShiftingTrees extends WakeupTrees {
  constructor(run: Run, hooks: SearchHooks) {
    super(run, hooks, true);
  }
}

function exploreWith(
  program: Program,
  options: ExploreOptions,
  Engine: new (run: Run, hooks: SearchHooks) => Strategy,
): Exploration {
  const { began, watch, maxRuns = Infinity, maxSteps = Infinity } = options;
  const run = new Run(program);
  began?.(run);
  const counter: Counter = new Counter(run, options, {
    runs: maxRuns,
    steps: maxSteps,
    watch: watch && ((soFar) => watch(soFar, strategy.progress())),
  });
  const strategy = new Engine(run, counter);
  try {
    search(run, strategy);
  } catch (error) {
    if (!(error instanceof SearchStopped || error instanceof FootprintShift)) throw error;
    while (run.depth > 0) run.undo();
    if (error instanceof FootprintShift) throw error;
  }
  return counter.found;
}

function exploreShards(program: Program, options: ExploreOptions): Exploration {
  const { began, watch, sizes, mistakes, shards } = options;
  const { maxRuns = Infinity, maxSteps = Infinity } = options;
  const runner = new ShardRunner(program, options, sizes, mistakes);
  began?.(runner.run);
  const whole = new ShardedSearch(sizes);
  /** What this thread has explored of a batch that is not part of the sum yet. */
  let pending = nothingExplored();
  let merged = whole.sum.steps;
  const here = (shard: Shard): ShardResult => {
    if (whole.sum.steps !== merged) {
      merged = whole.sum.steps;
      pending = nothingExplored();
    }
    const before = together(whole.sum, pending);
    const result = runner.explore(shard, {
      runs: maxRuns - before.runs - before.assumed - before.bounded,
      steps: maxSteps - before.steps,
      watch: watch && ((part, share) => watch(together(before, part), whole.share || share)),
    });
    addTo(pending, result.found);
    return result;
  };
  const limited = maxRuns !== Infinity || maxSteps !== Infinity;
  whole.explore(here, limited ? inThisThread : shards);
  return whole.sum;
}

function together(one: Exploration, other: Exploration): Exploration {
  const sum = nothingExplored();
  addTo(sum, one);
  addTo(sum, other);
  return sum;
}
