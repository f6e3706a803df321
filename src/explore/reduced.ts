import { EngineFault } from '../base/errors.ts';
import { READ, WRITE, conflicts } from '../machine/cells.ts';
import type { TrieNode } from '../machine/coroutine.ts';
import { MAX_ACTORS } from '../machine/machine.ts';
import type { Op } from '../machine/op.ts';
import { OtherOrder, earliest } from './other-order.ts';
import type { Run } from './run.ts';
import type { Strategy } from './search.ts';

/**
 * Source-set dynamic partial-order reduction with sleep sets (Abdulla, Aronis, Jonsson, Sagonas, "Source
 * Sets: A Foundation for Optimal Dynamic Partial Order Reduction", J. ACM 64(4), 2017, algorithm 1), for
 * steps that touch many resources, can be disabled, create actors and have several outcomes.
 *
 * Guarantee: of every equivalence class of maximal runs (Mazurkiewicz traces: runs that differ only in the
 * order of independent steps) exactly one is executed to its end; where outcomes of one step touch different
 * things (which freed frame an allocation recycles), at least one.
 *
 * Mechanism: whenever a step e is executed, every earlier step d that it races with (dependent, and not
 * ordered through anything in between) is a place where the order could have been the other way round. The
 * steps between that do not depend on d, followed by e, could have come before d; if none of their possible
 * first actors (the *initials*) is tried at d yet, one is added there. An actor whose step was tried goes
 * to sleep until a dependent step wakes it, so nothing is tried twice.
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
export interface ReducedHooks {
  /** A maximal run: nobody can take a step. */
  ended(): void;
  /** A prefix all of whose continuations were explored before. */
  sleepBlocked(): void;
  executed(): void;
}

interface Sleeper {
  readonly actor: number;
  readonly cells: Int32Array;
  readonly kinds: Int32Array;
}

/** Deliberate mistakes, for the tests that show that the comparison with plain enumeration finds them. */
export interface PlantedMistakes {
  readonly noPhantomsAtSleepBlocked?: boolean;
  readonly noPhantoms?: boolean;
  /** A sleeper keeps only what it accessed first: a footprint that was right in an earlier state. */
  readonly staleKinds?: boolean;
}

const ROW = MAX_ACTORS;
const NOBODY: Sleeper[] = [];

function bitCount(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}

export class Reduced implements Strategy {
  private readonly run: Run;
  private readonly hooks: ReducedHooks;
  private readonly mistakes: PlantedMistakes;
  /** Per node: actors to try, actors tried, actors asleep (bit masks). */
  private backtrack: Int32Array = new Int32Array(256);
  private done: Int32Array = new Int32Array(256);
  private asleep: Int32Array = new Int32Array(256);
  private entered: Uint8Array = new Uint8Array(256);
  private readonly sleepers: Sleeper[][] = [];
  /** Per step: the sleepers that it woke. */
  private readonly woken: Sleeper[][] = [];
  /** For `PlantedMistakes.staleKinds`: what an op touched when it was executed first, by node and by step. */
  private readonly firstOf: Map<TrieNode, Sleeper> = new Map();
  private readonly firstAt: Sleeper[] = [];
  /** Footprints of the outcomes of the actor being tried at each node, once it has more than one. */
  private readonly partial: (Sleeper | null)[] = [];
  /** Vector clock of each executed step: a row of per-actor sequence numbers. */
  private clocks: Int32Array = new Int32Array(256 * ROW);
  /** Sequence number of each step within its actor, and the actor's previous step. */
  private sequence: Int32Array = new Int32Array(256);
  private previous: Int32Array = new Int32Array(256);
  private readonly lastStep: Int32Array = new Int32Array(MAX_ACTORS).fill(-1);
  private readonly clock: Int32Array = new Int32Array(ROW);
  /** The past of the step being analysed that no other order changes: its actor's. */
  private readonly base: Int32Array = new Int32Array(ROW);
  private readonly candidates: number[] = [];
  private readonly enablers: number[] = [];
  private readonly tried: Set<string> = new Set();
  private readonly firsts: Int32Array = new Int32Array(ROW);
  private readonly asOf: OtherOrder;

  constructor(run: Run, hooks: ReducedHooks, mistakes: PlantedMistakes = {}) {
    this.run = run;
    this.hooks = hooks;
    this.mistakes = mistakes;
    this.asOf = new OtherOrder(run, (step, without) => this.leftOut(step, without));
  }

  next(): number {
    const depth = this.run.depth;
    if (depth + 2 >= this.backtrack.length) this.grow();
    if (this.entered[depth] === 0) {
      this.entered[depth] = 1;
      this.done[depth] = 0;
      this.partial[depth] = null;
      if (depth === 0) {
        this.sleepers[0] = [];
        this.asleep[0] = 0;
      }
      const first = this.firstChoice(depth);
      this.backtrack[depth] = first < 0 ? 0 : 1 << first;
      if (first < 0) this.leaf();
    }
    const open =
      (this.backtrack[depth] as number) &
      ~(this.done[depth] as number) &
      ~(this.asleep[depth] as number);
    if (open === 0) {
      this.entered[depth] = 0;
      return -1;
    }
    return 31 - Math.clz32(open & -open);
  }

  /** Any enabled actor that is not asleep will do; staying with the one that ran last keeps runs readable. */
  private firstChoice(depth: number): number {
    const { run } = this;
    const asleep = this.asleep[depth] as number;
    const current = depth > 0 ? (run.actorAt[depth - 1] as number) : 0;
    if ((asleep & (1 << current)) === 0 && run.enabled(current)) return current;
    for (let actor = 0; actor < run.nodes.length; actor++) {
      if ((asleep & (1 << actor)) === 0 && run.enabled(actor)) return actor;
    }
    return -1;
  }

  /**
   * How much of the tree is behind us, between 0 and 1, as if all subtrees were equally large and no further
   * branch turned up: an estimate, and nothing else.
   */
  progress(): number {
    let done = 0;
    let share = 1;
    for (let depth = 0; depth < this.run.depth; depth++) {
      const branches = bitCount(this.backtrack[depth] as number);
      done +=
        (share * bitCount((this.done[depth] as number) & (this.backtrack[depth] as number))) /
        branches;
      share /= branches;
    }
    return done;
  }

  private leaf(): void {
    const { run } = this;
    const enabled = run.enabledMask();
    if (enabled === 0) this.hooks.ended();
    else this.hooks.sleepBlocked();
    if (this.mistakes.noPhantoms) return;
    if (enabled !== 0 && this.mistakes.noPhantomsAtSleepBlocked) return;
    const disabled = run.alive & ~enabled;
    for (let actor = 0; actor < run.nodes.length; actor++) {
      if ((disabled & (1 << actor)) !== 0) this.phantom(actor);
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
    this.analyse(actor, op, this.run.depth);
    cells.undo(top, silentTop);
  }

  executed(): boolean {
    const { run } = this;
    const step = run.depth - 1;
    const actor = run.actorAt[step] as number;
    this.analyse(actor, run.last?.before.op as Op, step);
    const before = this.lastStep[actor] as number;
    const sequence = before < 0 ? 1 : (this.sequence[before] as number) + 1;
    this.previous[step] = before;
    this.sequence[step] = sequence;
    this.clock[actor] = sequence;
    this.clocks.set(this.clock, step * ROW);
    this.lastStep[actor] = step;
    this.passSleepers(step, actor);
    if (this.mistakes.staleKinds) this.rememberFirst(step, run.last?.before as TrieNode);
    this.hooks.executed();
    return true;
  }

  /** Sleepers whose step is independent of the one just executed sleep on. */
  private passSleepers(step: number, actor: number): void {
    const { cells } = this.run.machine;
    const kept: Sleeper[] = [];
    let woken = NOBODY;
    let mask = 0;
    for (const sleeper of this.sleepers[step] as Sleeper[]) {
      if (sleeper.actor === actor) continue;
      if (this.wakes(sleeper, cells.start)) {
        if (woken === NOBODY) woken = [];
        woken.push(sleeper);
        continue;
      }
      kept.push(sleeper);
      mask |= 1 << sleeper.actor;
    }
    this.woken[step] = woken;
    this.sleepers[step + 1] = kept;
    this.asleep[step + 1] = mask;
  }

  private wakes(sleeper: Sleeper, start: number): boolean {
    const { cells } = this.run.machine;
    for (let at = 0; at < sleeper.cells.length; at++) {
      const access = cells.head[sleeper.cells[at] as number] as number;
      if (access >= start && conflicts(cells.kind[access] as number, sleeper.kinds[at] as number)) {
        return true;
      }
    }
    return false;
  }

  retract(last: boolean): void {
    const step = this.run.depth - 1;
    const actor = this.run.actorAt[step] as number;
    this.lastStep[actor] = this.previous[step] as number;
    const earlier = this.partial[step] ?? null;
    if (!last) {
      this.partial[step] = this.footprint(actor, earlier);
      return;
    }
    this.partial[step] = null;
    this.done[step] = (this.done[step] as number) | (1 << actor);
    const open =
      (this.backtrack[step] as number) & ~this.done[step] & ~(this.asleep[step] as number);
    if (open === 0) return;
    const footprint = this.mistakes.staleKinds ? this.firstAt[step] : undefined;
    (this.sleepers[step] as Sleeper[]).push(footprint ?? this.footprint(actor, earlier));
    this.asleep[step] = (this.asleep[step] as number) | (1 << actor);
  }

  private rememberFirst(step: number, node: TrieNode): void {
    const known = this.firstOf.get(node) ?? this.footprint(this.run.actorAt[step] as number, null);
    this.firstOf.set(node, known);
    this.firstAt[step] = known;
  }

  /** What the step being taken back touched, over all its outcomes so far. */
  private footprint(actor: number, earlier: Sleeper | null): Sleeper {
    const { cells } = this.run.machine;
    const start = this.run.startAt[this.run.depth - 1] as number;
    const touched = cells.cell.slice(start, cells.top);
    const kinds = cells.kind.slice(start, cells.top);
    if (!earlier) return { actor, cells: touched, kinds };
    return {
      actor,
      cells: Int32Array.from([...earlier.cells, ...touched]),
      kinds: Int32Array.from([...earlier.kinds, ...kinds]),
    };
  }

  /**
   * Finds the races of the step recorded last (the one just executed, or a phantom behind the end) and
   * leaves its vector clock, without its own component, in `this.clock`. The step is `op` of `actor`, at
   * position `end` of the run.
   */
  private analyse(actor: number, op: Op, end: number): void {
    const { run, base, clock, clocks, candidates, enablers } = this;
    const { cells } = run.machine;
    const conditional = run.machine.conditional(run.machine.actor(actor), op);
    const before = this.lastStep[actor] as number;
    const origin = before >= 0 ? before : (run.bornAt[actor] as number);
    if (origin >= 0) base.set(clocks.subarray(origin * ROW, origin * ROW + ROW));
    else base.fill(0);
    clock.set(base);
    this.gather(actor, conditional);
    if (candidates.length > 1) candidates.sort((a, b) => b - a);
    enablers.length = 0;
    this.asOf.read.length = 0;
    if (conditional) this.tried.clear();
    for (let at = 0; at < candidates.length; at++) {
      const earlier = candidates[at] as number;
      if (at > 0 && earlier === candidates[at - 1]) continue;
      if (this.isBefore(earlier, clock)) continue;
      if (conditional && !this.possibleWithout([earlier], actor, op)) {
        enablers.push(earlier);
        this.leaveOutMore([earlier], actor, op, end);
        continue;
      }
      this.reverse([earlier], actor, end);
      this.join(earlier);
    }
    for (const enabler of enablers) this.join(enabler);
    for (let at = end - 1; at >= 0; at--) {
      const woken = this.woken[at] as readonly Sleeper[];
      if (woken.length === 0 || this.isBefore(at, clock)) continue;
      if (!woken.some((sleeper) => sleeper.actor !== actor && this.wakes(sleeper, cells.start)))
        continue;
      if (!conditional || this.possibleWithout([at], actor, op)) this.reverse([at], actor, end);
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
      for (let at = cells.head[cell] as number; at >= 0; at = cells.prev[at] as number) {
        const step = cells.event[at] as number;
        if (at >= cells.start || cells.kind[at] === READ) continue;
        if (run.actorAt[step] === actor || this.isBefore(step, this.base)) continue;
        if (this.leftOut(step, without)) continue;
        const more = without.filter((other) => !this.dependsOn(other, step));
        more.push(step);
        more.sort((a, b) => a - b);
        if (more.length === 1 && candidates.includes(step)) continue;
        const key = more.join();
        if (tried.has(key)) continue;
        tried.add(key);
        if (this.possibleWithout(more, actor, op)) this.reverse(more, actor, end);
        else this.leaveOutMore(more, actor, op, end);
      }
    }
  }

  /** Is `step` one of `without`, or does it depend on one? */
  private leftOut(step: number, without: readonly number[]): boolean {
    for (let at = 0; at < without.length; at++) {
      if (this.dependsOn(step, without[at] as number)) return true;
    }
    return false;
  }

  /** Does `step` happen after `earlier`, or is it the same? */
  private dependsOn(step: number, earlier: number): boolean {
    const other = this.run.actorAt[earlier] as number;
    return (this.clocks[step * ROW + other] as number) >= (this.sequence[earlier] as number);
  }

  private join(step: number): void {
    const { clock, clocks } = this;
    const row = step * ROW;
    const count = this.run.nodes.length;
    for (let at = 0; at < count; at++) {
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
    candidates.length = 0;
    for (let access = cells.start; access < cells.top; access++) {
      const kind = cells.kind[access] as number;
      let group = 0;
      for (let at = cells.prev[access] as number; at >= 0; at = cells.prev[at] as number) {
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
        if (!own) candidates.push(step);
        if (other === WRITE && !conditional) break;
      }
    }
  }

  /** Could `actor` do `op` if the steps in `without`, and all that depends on them, had not happened? */
  private possibleWithout(without: readonly number[], actor: number, op: Op): boolean {
    const { machine } = this.run;
    this.asOf.without(without);
    return machine.enabled(this.asOf, machine.actor(actor), op);
  }

  /**
   * Makes sure that at the node before the first of the steps in `without` somebody is tried who can lead to
   * the recorded step without them.
   */
  private reverse(without: readonly number[], actor: number, end: number): void {
    const { run, clocks, firsts } = this;
    const node = earliest(without);
    const covered = (this.backtrack[node] as number) | (this.asleep[node] as number);
    let seen = 0;
    let choice = -1;
    for (let at = node + 1; at < end; at++) {
      if (this.leftOut(at, without)) continue;
      const row = at * ROW;
      const who = run.actorAt[at] as number;
      const bit = 1 << who;
      if ((seen & bit) !== 0) continue;
      const initial = this.isInitial(seen, clocks, row);
      seen |= bit;
      firsts[who] = this.sequence[at] as number;
      if (!initial) continue;
      if ((covered & bit) !== 0) return;
      if (choice < 0) choice = who;
    }
    const bit = 1 << actor;
    if ((seen & bit) === 0 && this.isInitial(seen, this.base, 0) && !this.waits(without, node)) {
      if ((covered & bit) !== 0) return;
      choice = actor;
    }
    if (choice < 0) throw new EngineFault('a race without initials');
    this.backtrack[node] = (this.backtrack[node] as number) | (1 << choice);
  }

  /** Does the recorded step depend on a step behind `node` that stays? `this.asOf` has evaluated its condition. */
  private waits(without: readonly number[], node: number): boolean {
    const { cells } = this.run.machine;
    for (let at = 0; at < this.candidates.length; at++) {
      const step = this.candidates[at] as number;
      if (step > node && !this.leftOut(step, without)) return true;
    }
    for (const cell of this.asOf.read) {
      for (let at = cells.head[cell] as number; at >= 0; at = cells.prev[at] as number) {
        if ((cells.event[at] as number) <= node) break;
        if (at >= cells.start || cells.kind[at] === READ) continue;
        if (!this.leftOut(cells.event[at] as number, without)) return true;
      }
    }
    return false;
  }

  /** No first step of the actors in `seen` is ordered before the step with this clock. */
  private isInitial(seen: number, clocks: Int32Array, row: number): boolean {
    for (let rest = seen; rest !== 0; rest &= rest - 1) {
      const who = 31 - Math.clz32(rest & -rest);
      if ((clocks[row + who] as number) >= (this.firsts[who] as number)) return false;
    }
    return true;
  }

  private grow(): void {
    const wider = (array: Int32Array): Int32Array => {
      const next = new Int32Array(array.length * 2);
      next.set(array);
      return next;
    };
    this.backtrack = wider(this.backtrack);
    this.done = wider(this.done);
    this.asleep = wider(this.asleep);
    this.clocks = wider(this.clocks);
    this.sequence = wider(this.sequence);
    this.previous = wider(this.previous);
    const entered = new Uint8Array(this.entered.length * 2);
    entered.set(this.entered);
    this.entered = entered;
  }
}
