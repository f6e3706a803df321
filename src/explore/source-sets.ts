import { earliest } from './other-order.ts';
import { Races, type Race } from './races.ts';
import type { Run } from './run.ts';
import type { SearchHooks, Strategy } from './search.ts';
import type { Frame, Request, Shard } from './shards.ts';
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
  /** Where the search comes back to a node, it follows only the first outcome of a step. */
  readonly lostChoice?: boolean;
}

/** How many actors a mask has. */
export function bitCount(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** The part of the search that a shard may take is done; the rest is in `SourceSets.frames`. */
export class ShardFull extends Error {}

export class SourceSets implements Strategy {
  /** What the shard asks of nodes on its path. */
  readonly requests: Request[] = [];
  private readonly run: Run;
  private readonly hooks: SearchHooks;
  private readonly mistakes: PlantedMistakes;
  private readonly sleep: SleepSets;
  private readonly races: Races;
  /** Per node: actors to try and actors tried, as masks; has it been entered? */
  private readonly backtrack: number[] = [];
  private readonly done: number[] = [];
  private readonly entered: boolean[] = [];
  private readonly isFull: () => boolean;
  /** The node where the shard begins; -1 for a whole search. Above it, nobody is tried here. */
  private bottom = -1;

  /** `isFull` is asked after every run; if so, the search ends with `ShardFull`. */
  constructor(
    run: Run,
    hooks: SearchHooks,
    mistakes: PlantedMistakes = {},
    isFull: () => boolean = () => false,
  ) {
    this.run = run;
    this.hooks = hooks;
    this.mistakes = mistakes;
    this.isFull = isFull;
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
    if (open === 0) this.entered[node] = false;
    return this.run.firstOf(open);
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
    for (let node = Math.max(0, this.bottom); node < this.run.depth; node++) {
      const all = this.backtrack[node] as number;
      done += (share * bitCount((this.done[node] as number) & all)) / bitCount(all);
      share /= bitCount(all);
    }
    return done;
  }

  private leaf(): void {
    const { run, mistakes } = this;
    const enabled = run.enabledMask();
    if (enabled === 0) this.hooks.ended(() => this.races.classOf());
    else this.hooks.sleepBlocked();
    const blind =
      mistakes.noPhantoms ?? (mistakes.noPhantomsAtSleepBlocked === true && enabled !== 0);
    if (!blind) this.races.phantoms(run.alive & ~enabled);
    if (this.isFull()) throw new ShardFull();
  }

  executed(): boolean {
    const step = this.run.depth - 1;
    this.races.executed(step);
    this.sleep.executed(step);
    this.hooks.executed();
    if (this.mistakes.lostChoice !== true) return true;
    return this.run.outcomeAt[step] === 0 || this.done[step] === 0;
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
    if (node <= this.bottom) {
      this.request(node, race);
      return;
    }
    const covered = (this.backtrack[node] as number) | (this.sleep.asleep[node] as number);
    if ((this.races.initials(race, covered) & covered) !== 0) return;
    this.backtrack[node] = (this.backtrack[node] as number) | (1 << this.races.first);
  }

  /** The nodes on the shard's path belong to the whole search. */
  private request(node: number, race: Race): void {
    const { run, races } = this;
    if (run.depth <= this.bottom) return; // on the way to the shard: known where that was explored
    const created = run.created();
    const initials = renumber(races.initials(race, 0), created);
    const known = this.requests.some((made) => made.node === node && made.initials === initials);
    if (!known) this.requests.push({ node, initials, first: created.indexOf(races.first) });
  }

  /** Leads the run to where a shard begins, with the sleepers that it has there. */
  begin(shard: Shard, led: () => void): void {
    const { run, sleep, races } = this;
    this.bottom = shard.path.length;
    for (const { actor, outcome, tried } of shard.path) {
      const created = run.created();
      sleep.tryElsewhere(numberBack(tried, created));
      run.execute(created[actor] as number, outcome);
      races.executed(run.depth - 1);
      sleep.executed(run.depth - 1);
      led();
    }
    const created = run.created();
    sleep.tryElsewhere(numberBack(shard.tried, created));
    this.backtrack[this.bottom] = 1 << (created[shard.actor] as number);
    this.done[this.bottom] = 0;
    this.entered[this.bottom] = true;
  }

  /** What is open on the stack. */
  frames(): Frame[] {
    const { run, sleep } = this;
    const created = run.created();
    const frames: Frame[] = [];
    for (let node = Math.max(0, this.bottom); node < run.depth; node++) {
      const actor = run.actorAt[node] as number;
      const outcome = run.outcomeAt[node] as number;
      const done = this.done[node] as number;
      const more = outcome + 1 < (run.outcomesAt[node] as number);
      frames.push({
        actor: created.indexOf(actor),
        outcome,
        nextOutcome: more ? outcome + 1 : -1,
        asleep: renumber((sleep.asleep[node] as number) & ~done, created),
        tried: renumber(done, created),
        open: renumber(this.open(node) & ~(1 << actor), created),
      });
    }
    return frames;
  }
}

/** A mask of actors in the numbers of `Run.created`. */
function renumber(actors: number, created: readonly number[]): number {
  let mask = 0;
  for (let at = 0; at < created.length; at++) {
    if ((actors & (1 << (created[at] as number))) !== 0) mask |= 1 << at;
  }
  return mask;
}

function numberBack(mask: number, created: readonly number[]): number {
  let actors = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) {
    actors |= 1 << (created[31 - Math.clz32(rest & -rest)] as number);
  }
  return actors;
}

/** Any enabled actor that is not asleep will do; staying with the one that ran last keeps runs readable. */
export function firstChoice(run: Run, asleep: number): number {
  const current = run.depth > 0 ? (run.actorAt[run.depth - 1] as number) : 0;
  if ((asleep & (1 << current)) === 0 && run.enabled(current)) return current;
  for (let at = 0; at < run.order.length; at++) {
    const actor = run.order[at] as number;
    if ((asleep & (1 << actor)) === 0 && run.enabled(actor)) return actor;
  }
  return -1;
}
