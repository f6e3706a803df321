import { EngineFault } from '../base/errors.ts';
import { READ, WRITE, conflicts } from '../machine/cells.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import { MAX_ACTORS } from '../machine/machine.ts';
import type { Op } from '../machine/op.ts';
import type { ActorSet } from './actor-set.ts';
import { classHash } from './class-hash.ts';
import { OtherOrder, earliest } from './other-order.ts';
import type { Run } from './run.ts';
import { meets, type SleepSets } from './sleep-sets.ts';

/**
 * Happens-before and races of the run in progress: what every reduction that reverses races is built on
 * (Flanagan and Godefroid, POPL 2005; Abdulla, Aronis, Jonsson, Sagonas, "Source Sets: A Foundation for
 * Optimal Dynamic Partial Order Reduction", J. ACM 64(4), 2017).
 *
 * Two steps *race* if they are dependent and not ordered through anything in between: they could have come
 * in the other order. Whenever a step is executed, its races with earlier steps are reported; what to do
 * about them is the reduction's affair.
 *
 * Disabled actors (engine.md 7.4): a step that only *enabled* e cannot be reversed with it; the step before
 * which e could have happened is found further back, using the order without those enabling edges. An actor
 * that is still disabled when a run ends, or when its prefix is recognised as explored before, takes part in
 * the race analysis as a phantom with the footprint of its condition. Leaving either of the two out loses
 * traces. A condition over several words may need several independent steps to be left out together.
 *
 * Footprints that depend on the state: the theory assumes that a step which conflicts with another one still
 * does after a third has happened. A step that reads an index and then what it points to does not keep to
 * that. So a step that wakes a sleeper stands in, for the races of later steps, for what the sleeper would
 * have touched before it; nobody else would find "first that later step, then the sleeper, then this one".
 */
export interface Race {
  /** The steps that the racing one could have come before, all of them left out together; ascending. */
  readonly without: readonly number[];
  /** The racing step: its actor and its place, the run's length for a phantom. */
  readonly actor: number;
  readonly step: number;
  /** Not with the step left out, but with what a sleeper that it woke would have touched (see above). */
  readonly woken?: boolean;
}

const ROW = MAX_ACTORS;

export class Races {
  private readonly run: Run;
  private readonly sleep: SleepSets;
  private readonly report: (race: Race) => void;
  /** Vector clock of each executed step: a row of per-actor sequence numbers. */
  private clocks: Int32Array = new Int32Array(256 * ROW);
  /** Sequence number of each step within its actor, and the actor's previous step. */
  private readonly sequence: number[] = [];
  private readonly previous: number[] = [];
  private readonly lastStep: Int32Array = new Int32Array(MAX_ACTORS).fill(-1);
  private readonly clock: Int32Array = new Int32Array(ROW);
  private width = 0;
  /** The past of the step being analysed that no other order changes: its actor's. */
  private readonly base: Int32Array = new Int32Array(ROW);
  private readonly candidates: number[] = [];
  private readonly enablers: number[] = [];
  private readonly tried: Set<string> = new Set();
  /** While initials are looked for: whose steps were passed, and, per actor, the number of the first, or 0. */
  private readonly passed: number[] = [];
  private readonly firsts: Int32Array = new Int32Array(ROW);
  /** The initials found last. */
  readonly initials: number[] = [];
  /** Of these: the racing step's own actor if it is one, else the first in the run. */
  first = -1;
  private readonly asOf: OtherOrder;

  /** `report` is called while the racing step is the one recorded last; it must not change the run. */
  constructor(run: Run, sleep: SleepSets, report: (race: Race) => void) {
    this.run = run;
    this.sleep = sleep;
    this.report = report;
    this.asOf = new OtherOrder(run, (step, without) => this.leftOut(step, without));
  }

  /** Reports the races of the step just executed and keeps its vector clock. */
  executed(step: number): void {
    const { run } = this;
    if ((step + 2) * ROW > this.clocks.length) this.grow();
    const actor = run.actorAt[step] as number;
    this.analyse(actor, run.last?.before.op as Op, step);
    const before = this.lastStep[actor] as number;
    const sequence = before < 0 ? 1 : (this.sequence[before] as number) + 1;
    this.previous[step] = before;
    this.sequence[step] = sequence;
    this.clock[actor] = sequence;
    const row = step * ROW;
    for (let at = 0; at < this.width; at++) this.clocks[row + at] = this.clock[at] as number;
    this.lastStep[actor] = step;
  }

  /** The last step is about to be taken back. */
  retract(step: number): void {
    this.lastStep[this.run.actorAt[step] as number] = this.previous[step] as number;
  }

  /** Names the equivalence class of the run, which is complete. */
  classOf(): number {
    const { clocks } = this;
    return classHash(this.run, (step, actor) => clocks[step * ROW + actor] as number);
  }

  /** Reports the races of everybody who has steps to take at the end of a run and is not `enabled`. */
  phantoms(enabled: ActorSet): void {
    for (const actor of this.run.order) {
      if (this.run.isAlive(actor) && !enabled.has(actor)) this.phantom(actor);
    }
  }

  /** The pending step of a disabled actor, as if it were the run's last. */
  private phantom(actor: number): void {
    const { cells } = this.run.machine;
    const { top, silentTop } = cells;
    cells.begin(this.run.depth);
    const { op } = this.run.nodes[actor] as TrieNode;
    if (!op) throw new EngineFault('a finished actor is not blocked');
    this.run.machine.enabled(cells, this.run.machine.actor(actor), op);
    cells.conditionEnd = cells.top;
    // What nobody has written is no different in another order.
    if (this.isConditional(actor, op)) this.analyse(actor, op, this.run.depth);
    cells.undo(top, silentTop);
  }

  /**
   * Finds the races of the step recorded last (the one just executed, or a phantom behind the end) and
   * leaves its vector clock, without its own component, in `this.clock`. The step is `op` of `actor`, at
   * position `end` of the run.
   */
  private analyse(actor: number, op: Op, end: number): void {
    const { clock, candidates, enablers } = this;
    const conditional = this.isConditional(actor, op);
    this.inherit(actor);
    this.gather(actor, conditional);
    if (conditional) {
      while (enablers.length > 0) enablers.pop();
      this.tried.clear();
    }
    this.asOf.forget();
    for (let at = 0; at < candidates.length; at++) {
      const earlier = candidates[at] as number;
      if (this.isBefore(earlier, clock)) continue;
      if (conditional && !this.possibleWithout([earlier], actor, op)) {
        enablers.push(earlier);
        this.leaveOutMore([earlier], actor, op, end);
        continue;
      }
      this.report({ without: [earlier], actor, step: end });
      this.join(earlier);
    }
    if (conditional) for (const enabler of enablers) this.join(enabler);
    const { wakers } = this.sleep;
    for (let at = wakers.length - 1; at >= 0; at--) {
      const waker = wakers[at] as number;
      if (waker < end && !this.isBefore(waker, clock)) this.meetWoken(waker, actor, op, end);
    }
  }

  /** The races of the step with what the sleepers that `waker` woke would have touched before it. */
  private meetWoken(waker: number, actor: number, op: Op, end: number): void {
    const { run } = this;
    for (const sleeper of this.sleep.woken[waker] as SleepSets['woken'][number]) {
      if (sleeper.actor === actor || !meets(run, sleeper.footprint, run.machine.cells.start))
        continue;
      if (this.isConditional(actor, op) && !this.possibleWithout([waker], actor, op)) return;
      this.report({ without: [waker], actor, step: end, woken: true });
      return;
    }
  }

  /**
   * Might the step be impossible in another order? Not if nobody has written what its condition reads; a
   * condition is the first thing that a step evaluates.
   */
  private isConditional(actor: number, op: Op): boolean {
    const { machine } = this.run;
    if (!machine.conditional(machine.actor(actor), op)) return false;
    const { cells } = machine;
    for (let at = cells.start; at < cells.conditionEnd; at++) {
      if ((cells.prevWrite[at] as number) >= 0) return true;
    }
    return false;
  }

  /** The past that the step has from its own actor: the actor's last step, or the one that created it. */
  private inherit(actor: number): void {
    const { run, base, clock, clocks } = this;
    this.widen();
    const before = this.lastStep[actor] as number;
    const origin = before >= 0 ? before : (run.bornAt[actor] as number);
    const row = origin * ROW;
    for (let at = 0; at < this.width; at++) {
      base[at] = clock[at] = origin < 0 ? 0 : (clocks[row + at] as number);
    }
  }

  /** Rows are as wide as there are actors; the columns of new ones may hold what earlier runs left there. */
  private widen(): void {
    const { length } = this.run.machine.actors;
    for (; this.width < length; this.width++) {
      for (let at = this.width; at < this.clocks.length; at += ROW) this.clocks[at] = 0;
    }
  }

  /** Is `step` part of the past that `clock` stands for? */
  private isBefore(step: number, clock: Int32Array): boolean {
    return (clock[this.run.actorAt[step] as number] as number) >= (this.sequence[step] as number);
  }

  /**
   * The condition does not hold without the steps in `without`. It may hold without some more: `x == y` does
   * before x and y are both incremented, in between it does not. One of the cells that made it false must
   * have another value then, so somebody who wrote one of them is left out, too.
   */
  private leaveOutMore(without: readonly number[], actor: number, op: Op, end: number): void {
    const { run, candidates, tried } = this;
    const { cells } = run.machine;
    for (const cell of this.asOf.read.slice()) {
      for (let at = cells.lastWrite[cell] as number; at >= 0; at = cells.prevWrite[at] as number) {
        const step = cells.event[at] as number;
        if (at >= cells.start) continue;
        if (run.actorAt[step] === actor || this.isBefore(step, this.base)) continue;
        if (this.leftOut(step, without)) continue;
        const more = without.filter((other) => !this.dependsOn(other, step));
        more.push(step);
        more.sort((a, b) => a - b);
        if (more.length === 1 && candidates.includes(step)) continue;
        const key = more.join();
        if (tried.has(key)) continue;
        tried.add(key);
        if (this.possibleWithout(more, actor, op)) this.report({ without: more, actor, step: end });
        else this.leaveOutMore(more, actor, op, end);
      }
    }
  }

  /** Is `step` one of `without`, or does it depend on one? */
  leftOut(step: number, without: readonly number[]): boolean {
    for (let at = 0; at < without.length; at++) {
      if (this.dependsOn(step, without[at] as number)) return true;
    }
    return false;
  }

  /** Does `step` happen after `earlier`, or is it the same? */
  dependsOn(step: number, earlier: number): boolean {
    const other = this.run.actorAt[earlier] as number;
    return (this.clocks[step * ROW + other] as number) >= (this.sequence[earlier] as number);
  }

  private join(step: number): void {
    const { clock, clocks } = this;
    const row = step * ROW;
    for (let at = 0; at < this.width; at++) {
      const value = clocks[row + at] as number;
      if (value > (clock[at] as number)) clock[at] = value;
    }
  }

  /**
   * Earlier steps of others that the recorded step depends on. Of each cell's history the nearest group of
   * conflicting accesses is enough (what lies before is ordered before them), unless the step has a
   * condition: then some of them may turn out to be mere enablers, and what they hide counts too.
   */
  private gather(actor: number, conditional: boolean): void {
    const { candidates, run } = this;
    const { cells } = run.machine;
    while (candidates.length > 0) candidates.pop();
    for (let access = cells.start; access < cells.top; access++) {
      const kind = cells.kind[access] as number;
      const history = kind === READ ? cells.prevWrite : cells.prev; // reads commute with reads
      let group = 0;
      for (let at = history[access] as number; at >= 0; at = history[at] as number) {
        const step = cells.event[at] as number;
        const other = cells.kind[at] as number;
        const own = run.actorAt[step] === actor;
        if (own && (other === kind || other === WRITE)) break; // the rest is ordered before that one
        if (!conflicts(kind, other)) {
          if (group !== 0 && !conditional) break;
          continue;
        }
        if (!conditional && group !== 0 && other !== group) break;
        group = other;
        if (!own) this.addCandidate(step);
        if (other === WRITE && !conditional) break;
      }
    }
  }

  /** Keeps the candidates in descending order, each once. */
  private addCandidate(step: number): void {
    const { candidates } = this;
    let at = candidates.length;
    while (at > 0 && (candidates[at - 1] as number) < step) at--;
    if (at > 0 && candidates[at - 1] === step) return;
    candidates.push(step);
    for (let from = candidates.length - 1; from > at; from--) {
      candidates[from] = candidates[from - 1] as number;
    }
    candidates[at] = step;
  }

  /** Could `actor` do `op` if the steps in `without`, and all that depends on them, had not happened? */
  private possibleWithout(without: readonly number[], actor: number, op: Op): boolean {
    const { machine } = this.run;
    this.asOf.without(without);
    return machine.enabled(this.asOf, machine.actor(actor), op);
  }

  /**
   * Finds who can take the first step on a way from the node before `race` to the racing step that leaves out
   * `race.without`: the *initials* of what lies between and does not depend on it, the racing step included.
   * To be asked while the race is being reported. True, and done, once one of `enough` is among them.
   */
  findInitials(race: Race, enough: ActorSet): boolean {
    const { run, clocks, passed, firsts, initials } = this;
    const { without, actor, step: end } = race;
    const node = earliest(without);
    while (passed.length > 0) firsts[passed.pop() as number] = 0;
    while (initials.length > 0) initials.pop();
    this.first = -1;
    for (let at = node + 1; at < end; at++) {
      const who = run.actorAt[at] as number;
      if (firsts[who] !== 0 || this.leftOut(at, without)) continue;
      const initial = this.isInitial(clocks, at * ROW);
      passed.push(who);
      firsts[who] = this.sequence[at] as number;
      if (!initial) continue;
      initials.push(who);
      if (this.first < 0) this.first = who;
      if (enough.has(who)) return true;
    }
    if (firsts[actor] === 0 && this.isInitial(this.base, 0) && !this.waits(without, node)) {
      initials.push(actor);
      this.first = actor;
    }
    if (initials.length === 0) throw new EngineFault('a race without initials');
    return this.first === actor && enough.has(actor);
  }

  /** Does the recorded step depend on a step behind `node` that stays? `this.asOf` has evaluated its condition. */
  private waits(without: readonly number[], node: number): boolean {
    const { cells } = this.run.machine;
    for (let at = 0; at < this.candidates.length; at++) {
      const step = this.candidates[at] as number;
      if (step > node && !this.leftOut(step, without)) return true;
    }
    for (const cell of this.asOf.read) {
      for (let at = cells.lastWrite[cell] as number; at >= 0; at = cells.prevWrite[at] as number) {
        if ((cells.event[at] as number) <= node) break;
        if (at >= cells.start) continue;
        if (!this.leftOut(cells.event[at] as number, without)) return true;
      }
    }
    return false;
  }

  /** None of the first steps that were passed is ordered before the step with this clock. */
  private isInitial(clocks: Int32Array, row: number): boolean {
    const { passed, firsts } = this;
    for (let at = 0; at < passed.length; at++) {
      const who = passed[at] as number;
      if ((clocks[row + who] as number) >= (firsts[who] as number)) return false;
    }
    return true;
  }

  private grow(): void {
    const wider = new Int32Array(this.clocks.length * 2);
    wider.set(this.clocks);
    this.clocks = wider;
  }
}
