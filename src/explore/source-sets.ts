import { ActorSet, emptyAt } from './actor-set.ts';
import { earliest } from './other-order.ts';
import { Races, type Race } from './races.ts';
import type { Run } from './run.ts';
import type { SearchHooks, Strategy } from './search.ts';
import type { Frame, Request, Shard } from './shards.ts';
import { SleepSets, type Sleeper } from './sleep-sets.ts';

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

const NOBODY: ActorSet = new ActorSet();

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
  /** Per node: who is being tried or is still to be; how many were; has it been entered? */
  private readonly open: ActorSet[] = [];
  private readonly behind: number[] = [];
  private readonly entered: boolean[] = [];
  /** Who has a branch, or sleeps, at the node where a race is to be reversed. */
  private readonly covered: ActorSet = new ActorSet();
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
      const first = firstChoice(this.run, this.sleep.asleep[node] as ActorSet);
      if (first < 0) this.leaf();
      else this.enter(node, first);
      return first;
    }
    const open = this.open[node] as ActorSet;
    if (!open.isEmpty()) return this.run.firstOf(open);
    this.entered[node] = false;
    return -1;
  }

  private enter(node: number, first: number): void {
    this.entered[node] = true;
    this.behind[node] = 0;
    emptyAt(this.open, node).add(first);
  }

  /**
   * How much of the tree is behind us, between 0 and 1, as if all subtrees were equally large and no further
   * branch turned up: an estimate, and nothing else.
   */
  progress(): number {
    let done = 0;
    let share = 1;
    for (let node = Math.max(0, this.bottom); node < this.run.depth; node++) {
      const behind = this.behind[node] as number;
      const all = behind + (this.open[node] as ActorSet).size();
      done += (share * behind) / all;
      share /= all;
    }
    return done;
  }

  private leaf(): void {
    const { run, mistakes } = this;
    const enabled = run.enabledActors();
    const ended = enabled.isEmpty();
    if (ended) this.hooks.ended(() => this.races.classOf());
    else this.hooks.sleepBlocked();
    const blind = mistakes.noPhantoms ?? (mistakes.noPhantomsAtSleepBlocked === true && !ended);
    if (!blind) this.races.phantoms(enabled);
    if (this.isFull()) throw new ShardFull();
  }

  executed(): boolean {
    const step = this.run.depth - 1;
    this.races.executed(step);
    this.sleep.executed(step);
    this.hooks.executed();
    if (this.mistakes.lostChoice !== true) return true;
    return this.run.outcomeAt[step] === 0 || this.behind[step] === 0;
  }

  retract(last: boolean): void {
    const step = this.run.depth - 1;
    this.races.retract(step);
    if (!last) {
      this.sleep.nextOutcome(step);
      return;
    }
    const open = this.open[step] as ActorSet;
    open.delete(this.run.actorAt[step] as number);
    this.behind[step] = (this.behind[step] as number) + 1;
    if (!open.isEmpty()) this.sleep.putToSleep(step);
  }

  /** Makes sure that before the first step left out somebody is tried who can lead to the other order. */
  private reverse(race: Race): void {
    const node = earliest(race.without);
    if (node <= this.bottom) {
      this.request(node, race);
      return;
    }
    const { covered } = this;
    const open = this.open[node] as ActorSet;
    covered.unite(open, this.sleep.asleep[node] as ActorSet);
    if (!this.races.findInitials(race, covered)) open.add(this.races.first);
  }

  /** The nodes on the shard's path belong to the whole search. */
  private request(node: number, race: Race): void {
    const { run, races } = this;
    if (run.depth <= this.bottom) return; // on the way to the shard: known where that was explored
    races.findInitials(race, NOBODY);
    const initials = run.placesOf(races.initials);
    const known = this.requests.some(
      (made) => made.node === node && made.initials.join() === initials.join(),
    );
    if (!known) this.requests.push({ node, initials, first: run.order.indexOf(races.first) });
  }

  /** Leads the run to where a shard begins, with the sleepers that it has there. */
  begin(shard: Shard, led: () => void): void {
    const { run, sleep, races } = this;
    this.bottom = shard.path.length;
    for (const { actor, outcome, tried } of shard.path) {
      sleep.tryElsewhere(tried);
      run.execute(run.order[actor] as number, outcome);
      races.executed(run.depth - 1);
      sleep.executed(run.depth - 1);
      led();
    }
    sleep.tryElsewhere(shard.tried);
    this.enter(this.bottom, run.order[shard.actor] as number);
  }

  /** What is open on the stack. */
  frames(): Frame[] {
    const { run, sleep } = this;
    const frames: Frame[] = [];
    for (let node = Math.max(0, this.bottom); node < run.depth; node++) {
      const actor = run.actorAt[node] as number;
      const outcome = run.outcomeAt[node] as number;
      const more = outcome + 1 < (run.outcomesAt[node] as number);
      const asleep = (sleep.sleepers[node] as Sleeper[]).map((sleeper) => sleeper.actor);
      const tried = asleep.splice(asleep.length - (this.behind[node] as number));
      const open = run.order.filter((who) => who !== actor && this.open[node]?.has(who));
      frames.push({
        actor: run.order.indexOf(actor),
        outcome,
        nextOutcome: more ? outcome + 1 : -1,
        asleep: run.placesOf(asleep),
        tried: run.placesOf(tried),
        open: run.placesOf(open),
      });
    }
    return frames;
  }
}

/** Any enabled actor that is not asleep will do; staying with the one that ran last keeps runs readable. */
export function firstChoice(run: Run, asleep: ActorSet): number {
  const current = run.depth > 0 ? (run.actorAt[run.depth - 1] as number) : 0;
  if (!asleep.has(current) && run.enabled(current)) return current;
  for (let at = 0; at < run.order.length; at++) {
    const actor = run.order[at] as number;
    if (!asleep.has(actor) && run.enabled(actor)) return actor;
  }
  return -1;
}
