import { earliest } from './other-order.ts';
import { Races, type Race } from './races.ts';
import type { Run } from './run.ts';
import type { SearchHooks, Strategy } from './search.ts';
import { SleepSets } from './sleep-sets.ts';

/**
 * Source-set dynamic partial-order reduction with sleep sets (Abdulla, Aronis, Jonsson, Sagonas, "Source
 * Sets: A Foundation for Optimal Dynamic Partial Order Reduction", J. ACM 64(4), 2017, algorithm 1), for
 * steps that touch many resources, can be disabled, create actors and have several outcomes.
 *
 * Guarantee: of every equivalence class of maximal runs (Mazurkiewicz traces: runs that differ only in the
 * order of independent steps) exactly one is executed to its end; where outcomes of one step touch different
 * things (which freed frame an allocation recycles), at least one.
 *
 * Mechanism: whenever a step e is executed, every earlier step d that it races with is a place where the
 * order could have been the other way round. The steps between that do not depend on d, followed by e, could
 * have come before d; if none of their possible first actors (the *initials*) is tried at d yet, one is
 * added there. An actor whose step was tried goes to sleep until a dependent step wakes it, so nothing is
 * tried to its end twice; a prefix that turns out to be known is given up (*sleep-set blocked*).
 */

/** Deliberate mistakes, for the tests that show that the comparison with plain enumeration finds them. */
export interface PlantedMistakes {
  readonly noPhantomsAtSleepBlocked?: boolean;
  readonly noPhantoms?: boolean;
  /** A sleeper keeps only what it accessed first: a footprint that was right in an earlier state. */
  readonly staleKinds?: boolean;
}

function bitCount(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}

export class SourceSets implements Strategy {
  private readonly run: Run;
  private readonly hooks: SearchHooks;
  private readonly mistakes: PlantedMistakes;
  private readonly sleep: SleepSets;
  private readonly races: Races;
  /** Per node: actors to try and actors tried, as masks; has it been entered? */
  private readonly backtrack: number[] = [];
  private readonly done: number[] = [];
  private readonly entered: boolean[] = [];

  constructor(run: Run, hooks: SearchHooks, mistakes: PlantedMistakes = {}) {
    this.run = run;
    this.hooks = hooks;
    this.mistakes = mistakes;
    this.sleep = new SleepSets(run, mistakes.staleKinds);
    this.races = new Races(run, this.sleep, (race) => this.reverse(race));
  }

  next(): number {
    const node = this.run.depth;
    if (this.entered[node] !== true) {
      this.entered[node] = true;
      this.done[node] = 0;
      const first = firstChoice(this.run, this.sleep.asleep[node] as number);
      this.backtrack[node] = first < 0 ? 0 : 1 << first;
      if (first < 0) this.leaf();
    }
    const open = this.open(node);
    if (open === 0) {
      this.entered[node] = false;
      return -1;
    }
    return 31 - Math.clz32(open & -open);
  }

  private open(node: number): number {
    const over = (this.done[node] as number) | (this.sleep.asleep[node] as number);
    return (this.backtrack[node] as number) & ~over;
  }

  /**
   * How much of the tree is behind us, between 0 and 1, as if all subtrees were equally large and no further
   * branch turned up: an estimate, and nothing else.
   */
  progress(): number {
    let done = 0;
    let share = 1;
    for (let node = 0; node < this.run.depth; node++) {
      const all = this.backtrack[node] as number;
      done += (share * bitCount((this.done[node] as number) & all)) / bitCount(all);
      share /= bitCount(all);
    }
    return done;
  }

  private leaf(): void {
    const { run, mistakes } = this;
    const enabled = run.enabledMask();
    if (enabled === 0) this.hooks.ended();
    else this.hooks.sleepBlocked();
    if (mistakes.noPhantoms) return;
    if (enabled !== 0 && mistakes.noPhantomsAtSleepBlocked) return;
    this.races.phantoms(run.alive & ~enabled);
  }

  executed(): boolean {
    const step = this.run.depth - 1;
    this.races.executed(step);
    this.sleep.executed(step);
    this.hooks.executed();
    return true;
  }

  retract(last: boolean): void {
    const step = this.run.depth - 1;
    this.races.retract(step);
    if (!last) {
      this.sleep.nextOutcome(step);
      return;
    }
    this.done[step] = (this.done[step] as number) | (1 << (this.run.actorAt[step] as number));
    if (this.open(step) !== 0) this.sleep.putToSleep(step);
  }

  /** Makes sure that before the first step left out somebody is tried who can lead to the other order. */
  private reverse(race: Race): void {
    const node = earliest(race.without);
    const covered = (this.backtrack[node] as number) | (this.sleep.asleep[node] as number);
    if ((this.races.initials(race, covered) & covered) !== 0) return;
    this.backtrack[node] = (this.backtrack[node] as number) | (1 << this.races.first);
  }
}

/** Any enabled actor that is not asleep will do; staying with the one that ran last keeps runs readable. */
export function firstChoice(run: Run, asleep: number): number {
  const current = run.depth > 0 ? (run.actorAt[run.depth - 1] as number) : 0;
  if ((asleep & (1 << current)) === 0 && run.enabled(current)) return current;
  for (let actor = 0; actor < run.nodes.length; actor++) {
    if ((asleep & (1 << actor)) === 0 && run.enabled(actor)) return actor;
  }
  return -1;
}
