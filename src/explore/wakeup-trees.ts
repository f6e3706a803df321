import type { TrieNode } from '../machine/coroutine.ts';
import type { ActorSet } from './actor-set.ts';
import { earliest } from './other-order.ts';
import { OtherState } from './other-state.ts';
import { Races, type Race } from './races.ts';
import type { Run } from './run.ts';
import type { SearchHooks, Strategy } from './search.ts';
import { SleepSets, footprintOf, meet, type Footprint } from './sleep-sets.ts';
import { firstChoice } from './source-sets.ts';

/**
 * Optimal dynamic partial-order reduction with wakeup trees (Abdulla, Aronis, Jonsson, Sagonas, J. ACM
 * 64(4), 2017, algorithm 2): the second opinion on every count of the source sets.
 *
 * Guarantee: as for source sets; and no run is begun in vain (none is sleep-set blocked) as long as it does
 * not depend on the state which cells a step touches.
 *
 * Mechanism: when a run is complete, each of its races says how another class begins: the steps between the
 * two that do not depend on the first, then the second. Where no sleeper could have led there (none is a
 * *weak initial* of that sequence: able to come first, or independent of all of it), the whole sequence,
 * and not only its first actor, is put into the wakeup tree of the node before the race, unless a branch
 * there will be equivalent to it. Branches are later followed step by step; behind their ends the search is
 * free again.
 *
 * What the second step touches must be known in its new place: a failed compare-and-exchange may succeed
 * there. It is executed in that state and taken back (`OtherState`). An assumed footprint instead loses runs
 * or repeats them.
 *
 * All this rests on the assumption that steps which conflict still do when something else has happened before.
 * One word at a time keeps to it (a failed compare-and-exchange and what made it fail touch the same word), a
 * step that reads an index and then what it points to does not. Once a step is seen to touch other cells than
 * before, the search starts again (`FootprintShift`) and plans single steps only, as source sets do: then some
 * runs are begun in vain, and none is lost.
 */

/** A step touched other cells than before: start again, with `shifting`. */
export class FootprintShift extends Error {}

interface Branch {
  readonly actor: number;
  readonly footprint: Footprint;
  /** What comes after each outcome; nothing: anything may. */
  readonly next: Branch[][];
  /** The outcome that the branch was made for, or null: after each of them everything is explored. */
  readonly outcome: number | null;
}

/** Stands in a sequence for the second step of the race, which is not where the run has it. */
const RACING = -1;
/** Where an actor's step stands in a sequence: at an index, independent of all of it, or in its way. */
const INDEPENDENT = -1;
const IN_THE_WAY = -2;

export class WakeupTrees implements Strategy {
  private readonly run: Run;
  private readonly hooks: SearchHooks;
  private readonly sleep: SleepSets;
  private readonly races: Races;
  private readonly other: OtherState;
  /** Per node: the branch being followed, and those still to follow. */
  private readonly current: (Branch | null)[] = [];
  private readonly pending: Branch[][] = [[]];
  private readonly entered: boolean[] = [];
  private readonly behind: number[] = [];
  /** Per step: its races. What else does not depend on them, each complete run shows anew. */
  private readonly open: Race[][] = [];
  /** The steps from here on have not been part of a complete run. */
  private fresh = 0;
  /** What the steps of the run touched, once somebody has asked. */
  private footprints: (Footprint | undefined)[] = [];
  /** Of the race being looked at: the steps that are left out, and its second step in its new place. */
  private leftOut: Uint8Array = new Uint8Array(256);
  private readonly racing: { actor: number; footprint: number[] } = { actor: 0, footprint: [] };
  /** Which cells each op touched; null once they are known to shift. */
  private readonly shapes: Map<TrieNode, number> | null;

  constructor(run: Run, hooks: SearchHooks, shifting = false) {
    this.shapes = shifting ? null : new Map();
    this.run = run;
    this.hooks = hooks;
    this.sleep = new SleepSets(run);
    this.races = new Races(run, this.sleep, (race) => this.open[race.step]?.push(race));
    this.other = new OtherState(run);
  }

  next(): number {
    const node = this.run.depth;
    const first = this.entered[node] !== true;
    if (first) {
      this.entered[node] = true;
      this.behind[node] = 0;
      this.beFree(node);
    }
    const branch = this.nextBranch(node);
    this.current[node] = branch;
    if (branch) return branch.actor;
    if (first) this.leaf();
    this.entered[node] = false;
    return -1;
  }

  /** Where no branch says how to go on, anybody may. */
  private beFree(node: number): void {
    if ((this.pending[node] as Branch[]).length > 0) return;
    const actor = firstChoice(this.run, this.sleep.asleep[node] as ActorSet);
    if (actor < 0) return;
    this.pending[node] = [{ actor, footprint: [], outcome: null, next: [] }];
  }

  private nextBranch(node: number): Branch | null {
    for (;;) {
      const branch = (this.pending[node] as Branch[]).shift();
      if (!branch || !this.sleep.isAsleep(node, branch.actor)) return branch ?? null;
    }
  }

  progress(): number {
    let done = 0;
    let share = 1;
    for (let node = 0; node < this.run.depth; node++) {
      const behind = this.behind[node] as number;
      const all = behind + 1 + (this.pending[node] as Branch[]).length;
      done += (share * behind) / all;
      share /= all;
    }
    return done;
  }

  executed(): boolean {
    const { run } = this;
    const step = run.depth - 1;
    this.open[step] = [];
    this.footprints[step] = undefined;
    this.refuseShift(step);
    this.races.executed(step);
    this.sleep.executed(step);
    this.pending[step + 1] = this.current[step]?.next[run.outcomeAt[step] as number] ?? [];
    this.hooks.executed();
    return true;
  }

  private refuseShift(step: number): void {
    if (!this.shapes) return;
    const { run } = this;
    const { cells } = run.machine;
    const { status } = run.machine.cellsOf(run.actorAt[step] as number); // whoever waits for it is enabled by it
    let shape = 1;
    for (let at = cells.start; at < cells.top; at++) {
      const cell = cells.cell[at] as number;
      if (cell !== status) shape = (shape + Math.imul(cell + 1, 0x9e3779b1)) | 0;
    }
    const node = run.nodeBefore(step);
    const known = this.shapes.get(node);
    if (known === undefined) this.shapes.set(node, shape);
    else if (known !== shape) throw new FootprintShift();
  }

  retract(last: boolean): void {
    const step = this.run.depth - 1;
    this.races.retract(step);
    this.fresh = Math.min(this.fresh, step);
    if (!last) {
      this.sleep.nextOutcome(step);
      return;
    }
    this.behind[step] = (this.behind[step] as number) + 1;
    if ((this.pending[step] as Branch[]).length > 0) this.sleep.putToSleep(step);
  }

  private leaf(): void {
    const { run } = this;
    const enabled = run.enabledActors();
    if (enabled.isEmpty()) this.hooks.ended(() => this.races.classOf());
    else this.hooks.sleepBlocked();
    this.open[run.depth] = [];
    this.races.phantoms(enabled);
    for (let step = 0; step <= run.depth; step++) {
      for (const race of this.open[step] as Race[]) {
        if (step >= this.fresh || this.hasNewTail(race)) this.reverse(race);
      }
    }
    this.fresh = run.depth;
  }

  /**
   * A race of steps that were part of a complete run before says something new if steps that were not are
   * part of the sequence that reverses it: the longer the sequence, the fewer sleepers are its weak initials.
   */
  private hasNewTail({ without, step }: Race): boolean {
    const { run, races } = this;
    for (let at = this.fresh; at < run.depth; at++) {
      if (!races.leftOut(at, without) && !races.dependsOn(at, step)) return true;
    }
    return false;
  }

  /** Makes sure that the other order of a race is explored. */
  private reverse(race: Race): void {
    // What a sleeper would have touched does not change while footprints do not.
    if (race.woken && this.shapes) return;
    const node = earliest(race.without);
    const sequence = this.sequence(node, race);
    if (!this.shapes) {
      this.tryOneOf(node, sequence);
      return;
    }
    for (const sleeper of this.sleep.sleepers[node] ?? []) {
      if (this.place(sequence, sleeper.actor, sleeper.footprint) !== IN_THE_WAY) return;
    }
    this.insert(this.pending[node] as Branch[], sequence);
  }

  /**
   * What leads from `node` to the racing step, without the steps that are left out, and what else of the run
   * does not depend on these: `notdep(e, E).e'`. Where footprints shift, only what comes before the racing step.
   */
  private sequence(node: number, { without, actor, step }: Race): number[] {
    const { run, races } = this;
    if (this.leftOut.length < run.depth) this.leftOut = new Uint8Array(2 * run.depth);
    const end = this.shapes ? run.depth : step;
    const sequence: number[] = [];
    for (let at = node; at < run.depth; at++) {
      const behind = at >= end || (step < run.depth && races.dependsOn(at, step));
      const out = behind || races.leftOut(at, without);
      this.leftOut[at] = out ? 1 : 0;
      if (!out) sequence.push(at);
    }
    this.measure(node, actor, step, sequence);
    sequence.push(RACING);
    return sequence;
  }

  /** What the racing step touches in its new place. */
  private measure(node: number, actor: number, step: number, sequence: readonly number[]): void {
    const { run, racing } = this;
    const { cells } = run.machine;
    racing.actor = actor;
    racing.footprint = [];
    const pending = step < run.depth ? run.nodeBefore(step) : (run.nodes[actor] as TrieNode);
    const look = (): void => {
      racing.footprint.push(...footprintOf(cells, cells.start, cells.top));
    };
    if (this.other.enter(node, this.leftOut)) {
      run.probe(actor, pending, look);
      this.other.leave();
      return;
    }
    const { actors, outcomes } = { actors: [...run.actorAt], outcomes: [...run.outcomeAt] };
    const end = run.depth;
    while (run.depth > node) run.undo();
    for (const at of sequence) run.execute(actors[at] as number, outcomes[at] as number);
    run.probe(actor, pending, look);
    while (run.depth > node) run.undo();
    while (run.depth < end) {
      run.execute(actors[run.depth] as number, outcomes[run.depth] as number);
    }
  }

  /** Plans a first step of the sequence, unless one is planned or was tried; then anything may follow. */
  private tryOneOf(node: number, sequence: readonly number[]): void {
    const pending = this.pending[node] as Branch[];
    let choice = -1;
    for (let at = 0; at < sequence.length; at++) {
      const actor = this.actorOf(sequence[at] as number);
      const first = sequence.findIndex((step) => this.actorOf(step) === actor) === at;
      if (!first || !this.isInitial(sequence, at)) continue;
      const planned = pending.some((branch) => branch.actor === actor);
      if (planned || this.current[node]?.actor === actor || this.sleep.isAsleep(node, actor))
        return;
      choice = actor;
    }
    pending.push({ actor: choice, footprint: [], outcome: null, next: [] });
  }

  /** Puts a sequence into a wakeup tree, unless a branch of it is followed anyway that contains it. */
  private insert(tree: Branch[], sequence: number[]): void {
    let branches = tree;
    for (;;) {
      const way = this.wayFor(branches, sequence);
      if (!way) break;
      const { branch, at } = way;
      if (branch.outcome === null) return;
      let { outcome } = branch;
      if (at !== INDEPENDENT) {
        const step = sequence[at] as number;
        if (step !== RACING) outcome = this.run.outcomeAt[step] as number;
        sequence.splice(at, 1);
      }
      branches = branch.next[outcome] ??= [];
    }
    for (const step of sequence) {
      const branch = this.branch(step);
      branches.push(branch);
      if (branch.outcome !== null) branches = branch.next[branch.outcome] ??= [];
    }
  }

  /** The first branch that can be followed without leaving the sequence's class. */
  private wayFor(
    branches: readonly Branch[],
    sequence: readonly number[],
  ): { branch: Branch; at: number } | null {
    for (const branch of branches) {
      const at = this.place(sequence, branch.actor, branch.footprint);
      if (at !== IN_THE_WAY) return { branch, at };
    }
    return null;
  }

  private branch(step: number): Branch {
    if (step === RACING) return { ...this.racing, outcome: null, next: [] };
    const { run } = this;
    return {
      actor: run.actorAt[step] as number,
      footprint: (this.footprints[step] ??= this.footprintAt(step)),
      outcome: run.outcomeAt[step] as number,
      next: [],
    };
  }

  /** Of a step of the run. */
  private footprintAt(step: number): Footprint {
    const { run } = this;
    return footprintOf(run.machine.cells, run.startAt[step] as number, run.endOf(step));
  }

  private actorOf(step: number): number {
    return step === RACING ? this.racing.actor : (this.run.actorAt[step] as number);
  }

  /** Is the actor's step, with this footprint, a weak initial of the sequence? Where does it stand in it? */
  private place(sequence: readonly number[], actor: number, footprint: Footprint): number {
    for (let at = 0; at < sequence.length; at++) {
      if (this.actorOf(sequence[at] as number) === actor) {
        return this.isInitial(sequence, at) ? at : IN_THE_WAY;
      }
    }
    for (let at = 0; at < sequence.length; at++) {
      if (this.touches(footprint, sequence[at] as number)) return IN_THE_WAY;
    }
    return INDEPENDENT;
  }

  /** Does the step at `at` depend on none before it in the sequence? */
  private isInitial(sequence: readonly number[], at: number): boolean {
    const step = sequence[at] as number;
    for (let before = 0; before < at; before++) {
      const earlier = sequence[before] as number;
      const depends =
        step === RACING ? this.leadsToRacing(earlier) : this.races.dependsOn(step, earlier);
      if (depends) return false;
    }
    return true;
  }

  private leadsToRacing(earlier: number): boolean {
    const { actor, footprint } = this.racing;
    return this.run.bornAt[actor] === earlier || this.touches(footprint, earlier);
  }

  private touches(footprint: Footprint, step: number): boolean {
    if (step === RACING) return meet(footprint, this.racing.footprint);
    return meet(footprint, (this.footprints[step] ??= this.footprintAt(step)));
  }
}
