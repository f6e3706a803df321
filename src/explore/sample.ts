import type { ActorSet } from './actor-set.ts';
import { Counter, type Bounds, type Exploration, type Watchers } from './exploration.ts';
import { Run, type Program } from './run.ts';
import { SearchStopped } from './search.ts';

/**
 * Runs chosen by chance: for questions too large to be answered. They can find a violation and never prove
 * that there is none. The same seed is the same runs.
 */
export interface SampleOptions extends Watchers {
  readonly oracle: 'random' | 'pct';
  readonly seed: number;
  readonly runs: number;
  /** Stop at the first violation. */
  readonly wanted: (found: Exploration) => boolean;
  readonly watch?: Bounds['watch'];
}

/** A source of chance: mulberry32, 32 bits of state. The same seed is the same numbers for ever. */
export class Chance {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to `below` - 1. */
  pick(below: number): number {
    return Math.floor(this.next() * below);
  }
}

/** Who takes the next step of a run. */
interface Oracle {
  /** Before the first step of each run. */
  begin(): void;
  /** One of the enabled actors; there are some. */
  choose(enabled: ActorSet): number;
}

function memberAt(actors: ActorSet, index: number): number {
  let actor = actors.next(0);
  for (let at = 0; at < index; at++) actor = actors.next(actor + 1);
  return actor;
}

/** Anybody, each time. */
class Uniform implements Oracle {
  private readonly chance: Chance;

  constructor(chance: Chance) {
    this.chance = chance;
  }

  begin(): void {
    // every step is chosen anew
  }

  choose(enabled: ActorSet): number {
    return memberAt(enabled, this.chance.pick(enabled.size()));
  }
}

/** Changes of priority in a run: finds bugs that need one ordering constraint more than this. */
const CHANGES = 3;

/**
 * Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010): actors have
 * random priorities, the highest one runs, and at a few random steps it falls below all others. A bug that
 * needs d ordering constraints among n actors and k steps is found by each run with a chance of at least
 * 1 / (n k^(d-1)).
 */
class Priorities implements Oracle {
  private readonly chance: Chance;
  private priorities: number[] = [];
  private changes: number[] = [];
  private steps = 0;
  /** Steps of the longest run so far: where changes may fall. */
  private length = 16;

  constructor(chance: Chance) {
    this.chance = chance;
  }

  begin(): void {
    this.length = Math.max(this.length, this.steps);
    this.steps = 0;
    this.priorities = [];
    this.changes = Array.from({ length: CHANGES }, () => this.chance.pick(this.length));
  }

  choose(enabled: ActorSet): number {
    const step = this.steps++;
    let first = this.highest(enabled);
    this.changes.forEach((at, change) => {
      if (at !== step) return;
      this.priorities[first] = -1 - change;
      first = this.highest(enabled);
    });
    return first;
  }

  private highest(enabled: ActorSet): number {
    let best = -1;
    for (let actor = enabled.next(0); actor >= 0; actor = enabled.next(actor + 1)) {
      const priority = (this.priorities[actor] ??= this.chance.pick(2 ** 30));
      if (best < 0 || priority > (this.priorities[best] as number)) best = actor;
    }
    return best;
  }
}

/** Makes runs until the number asked for, a violation that is wanted, or a limit. */
export function sample(program: Program, options: SampleOptions): Exploration {
  const { oracle: kind, seed, runs, wanted, watch } = options;
  const run = new Run(program);
  const chance = new Chance(seed);
  const oracle = kind === 'pct' ? new Priorities(chance) : new Uniform(chance);
  const counter = new Counter(run, options, { runs, steps: Infinity, watch });
  try {
    while (!wanted(counter.found)) {
      oracle.begin();
      for (let enabled = run.enabledActors(); !enabled.isEmpty(); enabled = run.enabledActors()) {
        const actor = oracle.choose(enabled);
        run.execute(actor, chance.pick(run.outcomesOf(actor)));
        counter.executed();
      }
      counter.ended();
      while (run.depth > 0) run.undo();
    }
  } catch (error) {
    if (!(error instanceof SearchStopped)) throw error;
  }
  return counter.found;
}
