import { BOUNDED } from '../machine/actor.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import type { Violation } from '../machine/violation.ts';
import { endViolations } from './ends.ts';
import { Plain } from './plain.ts';
import { Run, type Program, type RunEnding, type Schedule } from './run.ts';
import { SearchStopped, search, type SearchHooks, type Strategy } from './search.ts';
import { SourceSets, type PlantedMistakes } from './source-sets.ts';
import { FootprintShift, WakeupTrees } from './wakeup-trees.ts';

/** What an exploration counts and finds. */
export interface Exploration {
  /** Complete runs: everybody finished, or stopped by a violation, or deadlocked. */
  runs: number;
  steps: number;
  deadlocks: number;
  /** Runs given up by `assume`, and runs that ended at the bound of a loop. */
  assumed: number;
  bounded: number;
  /** Where the first run ended at a loop's bound. */
  boundedAt: { readonly node: TrieNode; readonly limit: number } | null;
  sleepBlocked: number;
  /** First occurrence of each violation, by kind, actor, object and text. */
  readonly violations: Map<string, FoundViolation>;
  /** Set if a limit ended the search. */
  stopped: string | null;
  trieNodes: number;
}

export interface FoundViolation {
  readonly violation: Violation;
  readonly schedule: Schedule;
}

/**
 * `source`: source sets. `optimal`: wakeup trees, an independent second opinion. `plain`: every interleaving.
 */
export type Engine = 'source' | 'optimal' | 'plain';

export interface ExploreOptions {
  readonly engine?: Engine;
  readonly mistakes?: PlantedMistakes;
  /** Called before the first step; again if the search starts again (wakeup trees may, see there). */
  readonly began?: (run: Run) => void;
  /** Called at every end of a run; the machine is in its final state. */
  readonly ended?: (run: Run, ending: RunEnding) => void;
  /** Called after every step, with its violations in `run.found`. */
  readonly stepped?: (run: Run) => void;
  /** Called every 1024 steps: returns the name of a limit that was hit, or null. */
  readonly watch?: (soFar: Exploration, estimate: number | null) => string | null;
  readonly maxRuns?: number;
  readonly maxSteps?: number;
}

const WATCH_EVERY = 1023;

/** Explores every run of `program`, up to equivalence unless `engine` is `plain`. */
export function explore(program: Program, options: ExploreOptions = {}): Exploration {
  const { engine = 'source', mistakes } = options;
  if (engine === 'plain') {
    return exploreWith(program, options, (run, hooks) => new Plain(run, hooks));
  }
  if (engine === 'source') {
    return exploreWith(program, options, (run, hooks) => new SourceSets(run, hooks, mistakes));
  }
  try {
    return exploreWith(program, options, (run, hooks) => new WakeupTrees(run, hooks));
  } catch (error) {
    if (!(error instanceof FootprintShift)) throw error;
    return exploreWith(program, options, (run, hooks) => new WakeupTrees(run, hooks, true));
  }
}

function exploreWith(
  program: Program,
  options: ExploreOptions,
  strategyFor: (run: Run, hooks: SearchHooks) => Strategy,
): Exploration {
  const run = new Run(program);
  const result: Exploration = {
    runs: 0,
    steps: 0,
    deadlocks: 0,
    assumed: 0,
    bounded: 0,
    boundedAt: null,
    sleepBlocked: 0,
    violations: new Map(),
    stopped: null,
    trieNodes: 0,
  };
  options.began?.(run);
  const { ended, stepped, watch, maxRuns = Infinity, maxSteps = Infinity } = options;
  const stop = (limit: string): never => {
    result.stopped = limit;
    throw new SearchStopped();
  };
  const hooks: SearchHooks = {
    ended(): void {
      const ending = run.ending();
      if (ending === 'assumed') result.assumed++;
      else if (ending === 'bounded') noteBound(result, run);
      else result.runs++;
      if (ending === 'deadlock') result.deadlocks++;
      noteAll(result, run, endViolations(run, ending));
      ended?.(run, ending);
      const ends = result.runs + result.assumed + result.bounded;
      if (program.traced && isSampled(ends)) run.verifyTogether();
      if (result.runs + result.assumed + result.bounded >= maxRuns) stop('runs');
    },
    sleepBlocked(): void {
      result.sleepBlocked++;
    },
    executed(): void {
      result.steps++;
      if (run.found.length > 0) noteAll(result, run, run.found);
      stepped?.(run);
      if ((result.steps & WATCH_EVERY) !== 0) return;
      const limit = watch?.(result, strategy.progress());
      if (limit) stop(limit);
      if (result.steps >= maxSteps) stop('steps');
    },
  };
  const strategy = strategyFor(run, hooks);
  try {
    search(run, strategy);
  } catch (error) {
    while (run.depth > 0) run.undo();
    if (!(error instanceof SearchStopped)) throw error;
  }
  result.trieNodes = run.statistics.nodes;
  return result;
}

const VERIFIED_RUNS = 64;

/** The first runs, and ever fewer of the later ones. */
function isSampled(ends: number): boolean {
  return ends <= VERIFIED_RUNS || (ends & (ends - 1)) === 0;
}

function noteBound(result: Exploration, run: Run): void {
  result.bounded++;
  if (result.boundedAt) return;
  run.nodes.forEach((node, index) => {
    if (node && run.machine.cells.peek(run.machine.cellsOf(index).status) === BOUNDED) {
      result.boundedAt = { node, limit: Number(node.op?.args[0] ?? 0) };
    }
  });
}

function noteAll(result: Exploration, run: Run, found: readonly Violation[]): void {
  for (const violation of found) {
    const { kind, actor, object, message } = violation;
    const key = `${kind}|${actor}|${object}|${message}`;
    if (!result.violations.has(key)) {
      result.violations.set(key, { violation, schedule: run.schedule() });
    }
  }
}
