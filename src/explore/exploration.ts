import type { Site } from '../base/errors.ts';
import { BOUNDED } from '../machine/actor.ts';
import { siteOf } from '../machine/coroutine.ts';
import type { Violation } from '../machine/violation.ts';
import { endViolations } from './ends.ts';
import { glimpseIn } from './glimpses.ts';
import type { Run, RunEnding, Schedule } from './run.ts';
import { SearchStopped, type SearchHooks } from './search.ts';
import { verifyTogether } from './verify.ts';

/** What an exploration counts and finds. Survives a structured clone. */
export interface Exploration {
  /** Complete runs: everybody finished, or stopped by a violation, or deadlocked. */
  runs: number;
  steps: number;
  deadlocks: number;
  /** Runs given up by `assume`, and runs that ended at the bound of a loop, or beyond which a round may lie. */
  assumed: number;
  bounded: number;
  /** Where the first run ended at a loop's bound; `message`, if the loop is one that has none (glimpses.ts). */
  boundedAt: {
    readonly limit: number;
    readonly site: Site | null;
    readonly message?: string;
  } | null;
  sleepBlocked: number;
  /** First occurrence of each violation, by kind, actor, object and text. */
  readonly violations: Map<string, FoundViolation>;
  /** Set if a limit ended the search. */
  stopped: string | null;
}

export interface FoundViolation {
  readonly violation: Violation;
  readonly schedule: Schedule;
}

export function nothingExplored(): Exploration {
  return {
    runs: 0,
    steps: 0,
    deadlocks: 0,
    assumed: 0,
    bounded: 0,
    boundedAt: null,
    sleepBlocked: 0,
    violations: new Map(),
    stopped: null,
  };
}

/** Adds what another part of the same search has found; what was found first stays. */
export function addTo(sum: Exploration, part: Exploration): void {
  sum.runs += part.runs;
  sum.steps += part.steps;
  sum.deadlocks += part.deadlocks;
  sum.assumed += part.assumed;
  sum.bounded += part.bounded;
  sum.boundedAt ??= part.boundedAt;
  sum.sleepBlocked += part.sleepBlocked;
  for (const [key, found] of part.violations) {
    if (!sum.violations.has(key)) sum.violations.set(key, found);
  }
  sum.stopped ??= part.stopped;
}

/** Who wants to know of what happens during an exploration. */
export interface Watchers {
  /** Called at every end of a run; the machine is in its final state. */
  readonly ended?: ((run: Run, ending: RunEnding) => void) | undefined;
  /** Called after every step, with its violations in `run.found`. */
  readonly stepped?: ((run: Run) => void) | undefined;
  /** Collects the equivalence classes of the complete runs, as numbers (see class-hash.ts). */
  readonly classes?: Set<number> | undefined;
  /** Called after every step on the way to a part of the search; it has been counted elsewhere. */
  readonly led?: ((run: Run) => void) | undefined;
}

export interface Bounds {
  /** Complete runs, given-up and bounded ones included. */
  readonly runs: number;
  readonly steps: number;
  /** Called every 1024 steps: returns the name of a limit that was hit, or null. */
  readonly watch?: ((soFar: Exploration) => string | null) | undefined;
}

const WATCH_EVERY = 1023;
/** Complete runs that are led once more from the start, at the beginning of a search; later ever fewer are. */
const VERIFIED_RUNS = 64;

/** Counts what a search tells, and ends it at its bounds. */
export class Counter implements SearchHooks {
  readonly found: Exploration = nothingExplored();
  private readonly run: Run;
  private readonly watchers: Watchers;
  private readonly bounds: Bounds;
  private readonly verified: number;

  /** `beginning`: this is the beginning of a search, not a later part. */
  constructor(run: Run, watchers: Watchers, bounds: Bounds, beginning = true) {
    this.run = run;
    this.watchers = watchers;
    this.bounds = bounds;
    this.verified = beginning ? VERIFIED_RUNS : 0;
  }

  get ends(): number {
    return this.found.runs + this.found.assumed + this.found.bounded;
  }

  ended(classOf?: () => number): void {
    const { run, found } = this;
    const ending = run.ending();
    const stuck = ending === 'deadlock';
    if (ending === 'assumed') found.assumed++;
    else if (ending === 'bounded') this.noteBound();
    else {
      const isOpen = this.isOpen(stuck);
      if (isOpen) found.bounded++;
      else found.runs++;
      if (stuck && !isOpen) found.deadlocks++;
      if (!stuck || !isOpen) this.noteAll(endViolations(run, ending));
    }
    this.watchers.ended?.(run, ending);
    if (classOf) this.watchers.classes?.add(classOf());
    const { ends } = this;
    const sampled = ends <= this.verified || (ends & (ends - 1)) === 0;
    if (sampled && run.program.traced) verifyTogether(run, ends);
    if (ends >= this.bounds.runs) this.stop('runs');
  }

  sleepBlocked(): void {
    this.found.sleepBlocked++;
  }

  executed(): void {
    const { run, found, bounds } = this;
    found.steps++;
    if (run.found.length > 0) this.noteAll(run.found);
    this.watchers.stepped?.(run);
    if (found.steps >= bounds.steps) this.stop('steps');
    if ((found.steps & WATCH_EVERY) !== 0 || !bounds.watch) return;
    const limit = bounds.watch(found);
    if (limit) this.stop(limit);
  }

  private stop(limit: string): never {
    this.found.stopped = limit;
    throw new SearchStopped();
  }

  /** Is there more to a loop of the run than was tried? Notes where. */
  private isOpen(stuck: boolean): boolean {
    const { run, found } = this;
    const glimpse = glimpseIn(run, stuck);
    if (!glimpse) return false;
    const { step, message } = glimpse;
    found.boundedAt ??= { limit: 0, site: siteOf(run.nodeBefore(step)) ?? null, message };
    return true;
  }

  private noteBound(): void {
    const { run, found } = this;
    found.bounded++;
    if (found.boundedAt) return;
    run.order.forEach((index) => {
      const node = run.nodes[index];
      if (!node || run.machine.cells.peek(run.machine.cellsOf(index).status) !== BOUNDED) return;
      const [limit, message] = (node.op?.args ?? []) as [number?, string?];
      const site = message === undefined ? (siteOf(node) ?? null) : null;
      found.boundedAt = { limit: limit ?? 0, site, ...(message === undefined ? {} : { message }) };
    });
  }

  private noteAll(violations: readonly Violation[]): void {
    for (const violation of violations) {
      const { kind, actor, object, message } = violation;
      const key = `${kind}|${actor}|${object}|${message}`;
      if (!this.found.violations.has(key)) {
        this.found.violations.set(key, { violation, schedule: this.run.schedule() });
      }
    }
  }
}
