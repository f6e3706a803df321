import { EngineFault } from '../base/errors.ts';
import { ASSUMED, BOUNDED, FINISHED, RUNNING, STOPPED, type Actor } from '../machine/actor.ts';
import { READ, type Cell, type Reader } from '../machine/cells.ts';
import { Coroutine, type TrieNode, type TrieStatistics } from '../machine/coroutine.ts';
import type { PatchTable } from '../machine/fn.ts';
import { MAX_ACTORS, type Machine, type Spawned } from '../machine/machine.ts';
import type { Violation } from '../machine/violation.ts';
import type { Op, Steps } from '../machine/op.ts';
import { isByChance } from '../machine/ops/retry.ts';
import { ActorSet } from './actor-set.ts';
import { bornBackwards } from './verify.ts';

/**
 * One run in progress: executes steps of actors on the machine and takes them back.
 *
 * Every search walks the same tree through this class, so there is one semantics of a step. It knows
 * nothing of reduction: which step is next is the strategy's affair.
 */

/** A question ready to be explored: a machine in its initial state and the actors that run on it. */
export interface Program {
  readonly machine: Machine;
  readonly actors: readonly ProgramActor[];
  readonly patches: PatchTable;
  /** Remember where each op stands in the source (for diagrams; costs time and memory per trie node). */
  readonly traced: boolean;
  /** Evaluated inside every step, through the recording view: what they read joins the step's footprint. */
  readonly stepChecks: readonly StepCheck[];
}

export interface ProgramActor {
  readonly actor: Actor;
  readonly begin: () => Steps<unknown>;
}

export interface ExecutedStep {
  readonly who: Actor;
  readonly before: TrieNode;
  /** The node after the step; the same as `before` if the actor stopped in it. */
  readonly after: TrieNode;
  readonly value: unknown;
}

export type StepCheck = (machine: Machine, step: ExecutedStep) => void;

/**
 * The schedule of a run: who took each step, and which outcome it had. Actors are numbered in the order in
 * which this run creates them (see `Run.created`), not by their indices: those are given out in the order in
 * which a whole search happens to meet them, and another search meets them in another.
 */
export interface Schedule {
  readonly actors: readonly number[];
  readonly outcomes: readonly number[];
}

const functionNumbers: WeakMap<object, number> = new WeakMap();
let functions = 0;

/** Two functions of one name may behave differently, and so may two closures of one text. */
function functionKey(value: object & { name?: string }): string {
  let number = functionNumbers.get(value);
  if (number === undefined) functionNumbers.set(value, (number = functions++));
  return `${value.name ?? ''}#${number}`;
}

const knownKeys: WeakMap<object, string> = new WeakMap();

/** Arguments of a dynamic actor as text: equal arguments, same behaviour, same trie. */
function keyOf(value: unknown): string {
  if (typeof value === 'function') return functionKey(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) return `[${value.map(keyOf).join()}]`;
  if (typeof value === 'object' && value !== null) {
    const known = knownKeys.get(value);
    if (known !== undefined) return known;
    const key = `{${Object.entries(value)
      .map(([name, item]) => `${name}:${keyOf(item)}`)
      .join()}}`;
    if (Object.isFrozen(value)) knownKeys.set(value, key);
    return key;
  }
  return JSON.stringify(value) ?? 'undefined';
}

export class Run {
  readonly program: Program;
  readonly machine: Machine;
  /** Everybody who is there from the beginning: the program's actors, and those of store buffers. */
  readonly actors: readonly ProgramActor[];
  readonly statistics: TrieStatistics = { nodes: 0, generators: 0 };
  /** Current trie node of each actor; null before a dynamic actor exists. */
  readonly nodes: (TrieNode | null)[] = [];
  /** Steps executed so far. */
  depth = 0;
  /** Per actor: 1 if it exists and has steps to take. */
  private readonly alive: Uint8Array = new Uint8Array(MAX_ACTORS);
  /** Per step: who took it, which outcome it had and how many there were. */
  readonly actorAt: number[] = [];
  readonly outcomeAt: number[] = [];
  readonly outcomesAt: number[] = [];
  /** Per step: its first access and first silent write. */
  readonly startAt: number[] = [];
  readonly silentAt: number[] = [];
  readonly nodeAt: (TrieNode | null)[] = [];
  /** What the actor of each step received. */
  readonly valueAt: unknown[] = [];
  readonly spawnedAt: (readonly Spawned[])[] = [];
  /**
   * Indices of the actors of this run, in the order of their creation. Where actors are gone through, it is in
   * this order: indices are given out as a whole search meets the actors, and what is explored next must not
   * depend on what somebody happened to explore before.
   */
  readonly order: number[] = [];
  /** Per actor: the step that created it, or -1. */
  readonly bornAt: Int32Array = new Int32Array(MAX_ACTORS).fill(-1);
  /** What the last executed step found. */
  found: readonly Violation[] = [];
  last: ExecutedStep | null = null;
  /** Reads without recording. */
  readonly now: Reader;
  private readonly coroutines: Map<string, Coroutine> = new Map();

  constructor(program: Program) {
    this.program = program;
    this.machine = program.machine;
    const { cells } = this.machine;
    this.now = { get: (cell: Cell) => cells.peek(cell) };
    cells.settle();
    this.actors = [...program.actors, ...(this.machine.buffers?.start() ?? [])];
    const backwards = program.traced ? bornBackwards(program) : null;
    for (const { actor, begin } of this.actors) this.start(actor, '', begin);
    backwards?.();
  }

  private start(actor: Actor, key: string, begin: () => Steps<unknown>): void {
    const id = `${actor.index}:${key}`;
    let coroutine = this.coroutines.get(id);
    if (!coroutine) {
      const { patches, traced } = this.program;
      coroutine = new Coroutine(actor.name, begin, {
        patches,
        cpu: actor.cpu,
        arch: this.machine.arch,
        traced,
        statistics: this.statistics,
      });
      this.coroutines.set(id, coroutine);
    }
    this.nodes[actor.index] = coroutine.root;
    this.order.push(actor.index);
    if (coroutine.root.op) this.alive[actor.index] = 1;
    else this.finishAtOnce(actor);
  }

  /** An actor without any step has finished when it begins. */
  private finishAtOnce(actor: Actor): void {
    const { cells } = this.machine;
    const { status } = this.machine.cellsOf(actor.index);
    if (this.depth === 0) cells.values[status] = FINISHED;
    else cells.set(status, FINISHED);
  }

  /** All coroutines that any run so far has created. */
  allCoroutines(): Iterable<Coroutine> {
    return this.coroutines.values();
  }

  isAlive(actor: number): boolean {
    return this.alive[actor] === 1;
  }

  enabled(actor: number): boolean {
    if (this.alive[actor] !== 1) return false;
    const node = this.nodes[actor] as TrieNode;
    return this.machine.enabled(
      this.now,
      this.machine.actor(actor),
      node.op as NonNullable<TrieNode['op']>,
    );
  }

  /** Actors that can take a step now. */
  enabledActors(): ActorSet {
    const actors = new ActorSet();
    for (let actor = 0; actor < this.nodes.length; actor++) {
      if (this.enabled(actor)) actors.add(actor);
    }
    return actors;
  }

  /** In how many ways may the pending op of `actor` go? */
  outcomesOf(actor: number): number {
    const { machine } = this;
    const { op } = this.nodes[actor] as TrieNode;
    if (!op?.def.outcomes) return 1;
    const { top, silentTop } = machine.cells;
    machine.cells.begin(this.depth);
    const count = op.def.outcomes(machine, machine.actor(actor), op.args);
    machine.cells.undo(top, silentTop);
    return count;
  }

  /** Executes the pending op of `actor` with the given outcome. */
  execute(actor: number, outcome: number): void {
    const { machine, depth } = this;
    const { cells } = machine;
    const who = machine.actor(actor);
    const node = this.nodes[actor] as TrieNode;
    const op = node.op;
    if (!op) throw new EngineFault(`${who.name} has no step to take`);
    this.actorAt[depth] = actor;
    this.outcomeAt[depth] = outcome;
    this.startAt[depth] = cells.top;
    this.silentAt[depth] = cells.silentTop;
    this.nodeAt[depth] = node;
    machine.outcome = outcome;
    machine.history = this;
    if (machine.found.length > 0) machine.found.length = 0;
    if (machine.spawnedNow.length > 0) machine.spawnedNow.length = 0;
    cells.begin(depth);
    if (machine.conditional(who, op) && !machine.enabled(cells, who, op)) {
      throw new EngineFault(`${who.name} executes ${op.def.name}() although it is blocked`);
    }
    cells.conditionEnd = cells.top;
    machine.takeCpu(who);
    this.outcomesAt[depth] = op.def.outcomes ? op.def.outcomes(machine, who, op.args) : 1;
    const value = op.def.exec(machine, who, op.args);
    this.valueAt[depth] = value;
    this.depth = depth + 1;
    const after = this.advance(who, node, value);
    this.last = { who, before: node, after, value };
    for (const check of this.program.stepChecks) check(machine, this.last);
    this.spawnedAt[depth] = machine.spawnedNow.length > 0 ? this.adopt(depth) : NOTHING_SPAWNED;
    this.found = machine.found.length > 0 ? [...machine.found] : NOTHING_FOUND;
  }

  private advance(who: Actor, node: TrieNode, value: unknown): TrieNode {
    const { machine } = this;
    const { cells } = machine;
    const { status } = machine.cellsOf(who.index);
    if (machine.found.length > 0 && machine.found.some((violation) => violation.stops)) {
      cells.set(status, STOPPED);
    }
    if (cells.peek(status) !== RUNNING) {
      this.alive[who.index] = 0;
      return node;
    }
    const after = node.coroutine.next(node, value, this.program.traced && this.wrote());
    this.nodes[who.index] = after;
    if (after.op === null) {
      machine.finish(who);
      this.alive[who.index] = 0;
    }
    return after;
  }

  private wrote(): boolean {
    const { cells } = this.machine;
    for (let at = cells.start; at < cells.top; at++) if (cells.kind[at] !== READ) return true;
    return false;
  }

  private adopt(depth: number): readonly Spawned[] {
    const spawned = [...this.machine.spawnedNow];
    for (const { actor, request } of spawned) {
      const begin = request.fn as unknown as (...args: unknown[]) => Steps<unknown>;
      this.bornAt[actor.index] = depth;
      this.start(actor, keyOf(request.args), () => begin(...request.args));
    }
    return spawned;
  }

  /** Takes back the last step. */
  undo(): void {
    const depth = --this.depth;
    const { cells } = this.machine;
    cells.undo(this.startAt[depth] as number, this.silentAt[depth] as number);
    const spawned = this.spawnedAt[depth] as readonly Spawned[];
    for (const { actor } of spawned) {
      this.nodes[actor.index] = null;
      this.alive[actor.index] = 0;
      this.order.pop();
      this.bornAt[actor.index] = -1;
    }
    const actor = this.actorAt[depth] as number;
    this.nodes[actor] = this.nodeAt[depth] as TrieNode;
    this.alive[actor] = 1;
  }

  /** The trie node that a step of this run was taken from. */
  nodeBefore(step: number): TrieNode {
    return this.nodeAt[step] as TrieNode;
  }

  /** Behind the last access of a step of this run. */
  endOf(step: number): number {
    return step + 1 < this.depth ? (this.startAt[step + 1] as number) : this.machine.cells.top;
  }

  /**
   * Executes the step that `actor` takes at `node` in the machine's present state, which may be one of another
   * order, with each of its outcomes; calls `look` after each, and takes it back.
   */
  probe(actor: number, node: TrieNode, look: () => void): void {
    const nodes = this.nodes.slice();
    const born = this.bornAt.slice();
    const alive = this.alive.slice();
    let outcomes = 1;
    for (let outcome = 0; outcome < outcomes; outcome++) {
      this.nodes[actor] = node;
      this.execute(actor, outcome);
      outcomes = this.outcomesAt[this.depth - 1] as number;
      look();
      this.undo();
      for (let at = 0; at < this.nodes.length; at++) this.nodes[at] = nodes[at] ?? null;
      this.bornAt.set(born);
      this.alive.set(alive);
    }
  }

  /** A copy of `order`, as it stands now. */
  created(): number[] {
    return [...this.order];
  }

  /** The first of these actors that was created; -1 if there is none. */
  firstOf(actors: ActorSet): number {
    for (let at = 0; at < this.order.length; at++) {
      const actor = this.order[at] as number;
      if (actors.has(actor)) return actor;
    }
    return -1;
  }

  /** Where these actors stand in `order`, ascending. */
  placesOf(actors: readonly number[]): number[] {
    return actors.map((actor) => this.order.indexOf(actor)).sort((a, b) => a - b);
  }

  /** The schedule of the run so far. */
  schedule(): Schedule {
    const created = this.created();
    return {
      actors: this.actorAt.slice(0, this.depth).map((index) => created.indexOf(index)),
      outcomes: this.outcomeAt.slice(0, this.depth),
    };
  }

  /** How the run stands when no actor can take a step. */
  ending(): RunEnding {
    let stopped = false;
    let assumed = false;
    let bounded = false;
    let waiting = false;
    let unlucky = false;
    for (let actor = 0; actor < this.nodes.length; actor++) {
      if (!this.nodes[actor]) continue;
      const status = this.machine.cells.peek(this.machine.cellsOf(actor).status);
      if (status === STOPPED) stopped = true;
      else if (status === ASSUMED) assumed = true;
      else if (status === BOUNDED) bounded = true;
      else if (status === RUNNING && !this.machine.actor(actor).daemon) {
        if (isByChance((this.nodes[actor] as TrieNode).op as Op)) unlucky = true;
        else waiting = true;
      }
    }
    if (stopped) return 'stopped';
    if (bounded) return 'bounded';
    if (assumed || (unlucky && !waiting)) return 'assumed'; // another run has taken the other way
    return waiting ? 'deadlock' : 'complete';
  }
}

/** `stopped`: a violation stopped an actor, so what the others leave undone means nothing. */
export type RunEnding = 'complete' | 'deadlock' | 'assumed' | 'bounded' | 'stopped';

const NOTHING_SPAWNED: readonly Spawned[] = [];
const NOTHING_FOUND: readonly Violation[] = [];
