import type { Violation } from '../machine/violation.ts';
import { endViolations } from './ends.ts';
import { Plain } from './plain.ts';
import { Reduced, type PlantedMistakes } from './reduced.ts';
import { Run, type Program, type RunEnding, type Schedule } from './run.ts';
import { SearchStopped, search } from './search.ts';

/** What an exploration counts and finds. */
export interface Exploration {
  /** Complete runs: everybody finished, or stopped by a violation, or deadlocked. */
  runs: number;
  steps: number;
  deadlocks: number;
  /** Runs given up by `assume`, and runs that ended at the bound of a loop. */
  assumed: number;
  bounded: number;
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

export interface ExploreOptions {
  readonly engine?: 'reduced' | 'plain';
  readonly mistakes?: PlantedMistakes;
  /** Called at every end of a run; the machine is in its final state. */
  readonly ended?: (run: Run, ending: RunEnding) => void;
  /** Called after every step, with its violations in `run.found`. */
  readonly stepped?: (run: Run) => void;
  /** Called every 1024 steps: returns the name of a limit that was hit, or null. */
  readonly watch?: (soFar: Exploration) => string | null;
  readonly maxRuns?: number;
  readonly maxSteps?: number;
}

const WATCH_EVERY = 1023;

/** Explores every run of `program`, up to equivalence unless `engine` is `plain`. */
export function explore(program: Program, options: ExploreOptions = {}): Exploration {
  const run = new Run(program);
  const result: Exploration = {
    runs: 0,
    steps: 0,
    deadlocks: 0,
    assumed: 0,
    bounded: 0,
    sleepBlocked: 0,
    violations: new Map(),
    stopped: null,
    trieNodes: 0,
  };
  const { ended, stepped, watch, maxRuns = Infinity, maxSteps = Infinity } = options;
  const stop = (limit: string): never => {
    result.stopped = limit;
    throw new SearchStopped();
  };
  const hooks = {
    ended(): void {
      const ending = run.ending();
      if (ending === 'assumed') result.assumed++;
      else if (ending === 'bounded') result.bounded++;
      else result.runs++;
      if (ending === 'deadlock') result.deadlocks++;
      noteAll(result, run, endViolations(run, ending));
      ended?.(run, ending);
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
      const limit = watch?.(result);
      if (limit) stop(limit);
      if (result.steps >= maxSteps) stop('steps');
    },
  };
  const strategy =
    options.engine === 'plain' ? new Plain(run, hooks) : new Reduced(run, hooks, options.mistakes);
  try {
    search(run, strategy);
  } catch (error) {
    if (!(error instanceof SearchStopped)) throw error;
  }
  result.trieNodes = run.statistics.nodes;
  return result;
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
