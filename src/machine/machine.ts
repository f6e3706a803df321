import { GracewalkError } from '../base/errors.ts';
import { FINISHED, RUNNING, type Actor } from './actor.ts';
import type { ArchDescriptor, Half } from './arch.ts';
import { Cells, Interner, type Cell, type Reader } from './cells.ts';
import { TASK, isOut, makeCpu, makeWalker, taskMayRun, type Cpu, type Walker } from './cpu.ts';
import type { AnyFn } from './fn.ts';
import { TORN, type EntryHalf } from './halves.ts';
import {
  FREE,
  Memory,
  lifeGeneration,
  lifeState,
  refuseLarge,
  type Entry,
  type Page,
  type Word,
} from './memory.ts';
import type { Op } from './op.ts';
import type { MappingClaim } from './ops/pages.ts';
import type { OpenSections } from './ops/rcu.ts';
import { refuseTable, refuseWhole } from './refusals.ts';
import type { SplitWords } from './split-words.ts';
import { StoreBuffers, type Deferred, type MemoryModel } from './store-buffers.ts';
import { Translations } from './translations.ts';
import type { Violation } from './violation.ts';

/** As many as the explorer's sets of actors hold. */
export const MAX_ACTORS = 64;

/** The checks that watch the machine; `src/sanitizers/` has one file for each. */
export interface Sanitizer {
  readonly name: string;
  /** A pointer made in `generation` of a frame is followed. `false` if it must not be. */
  dereference?(
    machine: Machine,
    who: Actor,
    frame: number,
    generation: number,
    what: string,
  ): boolean;
  /** A frame goes back to the allocator. `false` if it must not. */
  free?(machine: Machine, who: Actor, frame: number, generation: number): boolean;
  /** A CPU can use its translations again or different ones: VM entry, root load, leaving lazy mode. */
  resume?(machine: Machine, who: Actor, cpu: Walker): void;
  /** A CPU may from now on hold a translation to `frame`. */
  reachable?(machine: Machine, who: Actor, cpu: Walker, frame: number, generation: number): void;
  /** An op that may sleep is about to. `false` if it must not. */
  mightSleep?(machine: Machine, who: Actor, what: string): boolean;
  /**
   * Somebody relies on an entry that he has read: `what` he does with it. `false` if he must not. Called for
   * torn entries only.
   */
  torn?(machine: Machine, who: Actor, frame: number, what: string): boolean;
  /** Hardware has set a mark (accessed, dirty) in an entry by itself. */
  hardwareMarked?(machine: Machine, entry: Word, before: Entry, after: Entry): void;
  /** A store of user code has reached memory. */
  userStored?(machine: Machine, who: Actor, store: UserStore): void;
  /** A 64-bit word was loaded from memory, not from a store buffer. */
  entryRead?(machine: Machine, who: Actor, word: Word): void;
  /** A word of a page table was stored to by somebody who was not told what it replaced. */
  entryReplaced?(machine: Machine, who: Actor, word: Word, before: Entry, after: Entry): void;
  /** A word of a page table says something else than before, whoever was told what. */
  entryChanged?(machine: Machine, who: Actor, word: Word, before: Entry, after: Entry): void;
  /** A word of a page table was stored. */
  entryStored?(machine: Machine, who: Actor, address: number): void;
  /** A word of a frame that is no page table was stored. */
  dataStored?(machine: Machine, who: Actor, word: Word): void;
  /** The entry at `address` is about to be cleared, to be put back or replaced. */
  suspended?(machine: Machine, who: Actor, address: number): void;
  /** The kernel throws away what `page` holds: nobody may have written to it what is nowhere else. */
  discarded?(machine: Machine, who: Actor, page: Page): void;
  /** A lookup has taken a reference on `page`, which it claims is mapped. */
  claim?(machine: Machine, who: Actor, page: Page, claim: MappingClaim): void;
  /** The lookup ends, with the page or without. What it returns is the page that was claimed, if that is known. */
  settle?(machine: Machine, who: Actor, page: Page | null): Page | undefined;
  /** The run has ended with every actor finished: a final state. */
  quiescence?(machine: Machine, results: readonly ActorResult[]): void;
}

/** What user code stored, and where it meant to store it. */
export interface UserStore {
  readonly root: number;
  readonly address: number;
  readonly bits: bigint;
}

export interface ActorResult {
  readonly actor: Actor;
  readonly value: unknown;
}

/** A cell that a round of a loop has read, with what it said then. */
interface Learned {
  readonly cell: Cell;
  readonly value: number;
  readonly sign: boolean;
}

/** A run in progress, by depth: who took each step, which op it was, and what came of it. */
export interface History {
  readonly actorAt: ArrayLike<number>;
  readonly nodeAt: readonly ({ readonly op: Op | null } | null | undefined)[];
  readonly valueAt: readonly unknown[];
  /** Its first access. */
  readonly startAt: ArrayLike<number>;
  /** In how many ways the step could have gone. */
  readonly outcomesAt: ArrayLike<number>;
}

export interface SpawnRequest {
  readonly fn: AnyFn;
  readonly args: readonly unknown[];
  readonly title: string;
  readonly kind: Actor['kind'];
  /** The CPU it runs on, or -1. */
  readonly cpu: number;
  readonly column: string;
}

export interface Spawned {
  readonly actor: Actor;
  readonly request: SpawnRequest;
}

export interface MachineOptions {
  readonly arch: ArchDescriptor;
  /** Sequential consistency unless said otherwise. */
  readonly model?: MemoryModel;
  readonly cpus: readonly { readonly name: string; readonly virtual: boolean }[];
  readonly sanitizers?: readonly Sanitizer[];
  /** Named machine settings that ops consult (recycling, allocation failures, host budgets). */
  readonly settings?: Readonly<Record<string, unknown>>;
}

interface ActorCells {
  readonly status: Cell;
  readonly spawned: Cell;
  readonly allocated: Cell;
  readonly locks: Cell;
  readonly rcuNesting: Cell;
  readonly rcuEnded: Cell;
}

/** A simulated multiprocessor. It executes one op at a time and knows neither Linux nor the search. */
export class Machine {
  readonly cells: Cells = new Cells();
  readonly memory: Memory;
  readonly arch: ArchDescriptor;
  readonly cpus: readonly Cpu[];
  /** Everything that walks page tables by itself: the processors, then guests and devices. */
  readonly walkers: Walker[];
  readonly actors: Actor[] = [];
  readonly translations: Translations;
  /** Under `tso`; null where every store is in memory at once. */
  readonly buffers: StoreBuffers | null;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly sanitizers: readonly Sanitizer[];
  /** Set before the first step if a predicate asks whether tables are still linked. */
  tracksLinks = false;
  /**
   * How many RCU callbacks are running. Asking which ones are starts here: it must conflict with the start of
   * a callback that does not exist yet.
   */
  readonly openCallbacks: Cell = this.cells.allocate();
  /** Sets of open read-side sections, as grace periods remember them. */
  readonly sections: Interner<OpenSections> = new Interner((open) => JSON.stringify(open));
  /** What rounds of loops have looked at (ops/retry.ts). */
  readonly rounds: Interner<readonly Learned[]> = new Interner((seen) =>
    seen.map(({ cell, value, sign }) => `${cell}${sign ? '>' : '='}${value}`).join(),
  );
  /** The steps of the present run; of whoever executes it. */
  history: History | null = null;
  /** Which outcome of the current step this is (see `OpDef.outcomes`). */
  outcome = 0;
  /** What the current step found and created. */
  readonly found: Violation[] = [];
  readonly spawnedNow: Spawned[] = [];
  /** Objects of the kernel layer that belong to this machine, by name (a per-CPU area, an mm's layout). */
  readonly objects: Map<string, unknown> = new Map();
  /** What the kernel calls entries that map nothing and are not free either, by their bits: for diagrams. */
  readonly specialEntries: Map<bigint, string> = new Map();
  private readonly byCreation: Map<string, Actor> = new Map();
  /** Per dynamic actor: who created it and as its how-manieth. Titles repeat. */
  private readonly creations: string[] = [];
  private readonly actorCells: ActorCells[] = [];

  constructor(options: MachineOptions) {
    const buffered = options.model === 'tso';
    this.memory = new Memory(this.cells, options.arch, buffered);
    this.arch = this.memory.arch;
    this.buffers = buffered ? new StoreBuffers(this) : null;
    this.cpus = options.cpus.map((cpu, at) => makeCpu(this.cells, at, cpu.name, cpu.virtual));
    this.walkers = [...this.cpus];
    this.sanitizers = options.sanitizers ?? [];
    this.settings = options.settings ?? {};
    this.translations = new Translations(this);
  }

  cpu(index: number): Cpu {
    const cpu = this.cpus[index];
    if (!cpu) {
      throw new GracewalkError('E117', 'an operation on this CPU by somebody who is on none', {
        notes: ["RCU callbacks and the host do not run on one of the scenario's CPUs"],
        help: 'interrupts and preemption are for tasks and interrupt handlers',
      });
    }
    return cpu;
  }

  /** A guest or a device that walks tables of the kind `stage` (stages.ts). Before the first step only. */
  addWalker(name: string, stage: number, gfns: boolean = false): Walker {
    const walker = makeWalker(this.cells, this.walkers.length, name, stage, gfns);
    this.walkers.push(walker);
    return walker;
  }

  walker(index: number): Walker {
    return this.walkers[index] as Walker;
  }

  actor(index: number): Actor {
    return this.actors[index] as Actor;
  }

  addActor(actor: Omit<Actor, 'index'>): Actor {
    if (this.actors.length === MAX_ACTORS) {
      throw new GracewalkError('E104', `more than ${MAX_ACTORS} actors`, {
        notes: [
          'interrupt handlers and RCU callbacks count: each IPI sent and each call_rcu() makes one',
          ...(this.buffers ? ['so do store buffers: each CPU has one'] : []),
        ],
        help: 'ask a smaller question: fewer CPUs, fewer unmappings',
      });
    }
    const made: Actor = Object.freeze({ ...actor, index: this.actors.length });
    this.actors.push(made);
    const { cells } = this;
    this.actorCells.push({
      status: cells.allocate(RUNNING),
      spawned: cells.allocate(),
      allocated: cells.allocate(),
      locks: cells.allocate(),
      rcuNesting: cells.allocate(),
      rcuEnded: cells.tally(),
    });
    return made;
  }

  cellsOf(actor: number): ActorCells {
    return this.actorCells[actor] as ActorCells;
  }

  /** Creates a dynamic actor, named by (creator, how-manieth). */
  spawn(who: Actor, request: SpawnRequest): Actor {
    const counter = this.cellsOf(who.index).spawned;
    const ordinal = this.cells.peek(counter);
    this.cells.poke(counter, ordinal + 1);
    const key = `${who.index}.${ordinal}.${request.kind}.${request.cpu}.${request.title}`;
    let actor = this.byCreation.get(key);
    if (!actor) {
      actor = this.addActor({
        name: request.title,
        column: request.column,
        cpu: request.cpu,
        kind: request.kind,
        daemon: false,
        shared: false,
        creator: who.index,
      });
      this.byCreation.set(key, actor);
      this.creations[actor.index] = `${this.nameOf(who)}.${ordinal + 1}`;
    }
    this.spawnedNow.push({ actor, request });
    return actor;
  }

  /** A name that no other actor of a run has; the same in every order. */
  nameOf({ index, name }: Actor): string {
    return this.creations[index] ?? name;
  }

  violate(violation: Violation): void {
    this.found.push(violation);
  }

  /** Is the frame not any more what it was when a pointer to it was made? */
  dangles(frame: number, generation: number): boolean {
    const life = this.cells.get(this.memory.info(frame).life);
    return lifeState(life) === FREE || lifeGeneration(life) !== generation;
  }

  /** Level of the page table that the frame holds by now, or -1. */
  levelOf(frame: number): number {
    return frame < 0 ? -1 : this.cells.peek(this.memory.info(frame).level);
  }

  /** Follows a pointer into a frame. `false`: it dangles, and the step must not go on. */
  dereference(who: Actor, frame: number, generation: number, what: string): boolean {
    if (frame < 0) return true;
    if (!this.isWhole(who, frame, generation, 'follows')) return false;
    if (!this.dangles(frame, generation)) return true;
    let allowed = true;
    for (const sanitizer of this.sanitizers) {
      if (sanitizer.dereference?.(this, who, frame, generation, what) === false) allowed = false;
    }
    return allowed;
  }

  /** Is the entry with this pointer one that somebody stored? `what` is what `who` does with it. */
  isWhole(who: Actor, frame: number, generation: number, what: string): boolean {
    if (generation !== TORN) return true;
    let allowed = true;
    for (const sanitizer of this.sanitizers) {
      if (sanitizer.torn?.(this, who, frame, what) === false) allowed = false;
    }
    return allowed;
  }

  /** Loads a word as `who` sees it: what its CPU has buffered for the word comes before memory. */
  load(who: Actor, word: Word): number {
    return this.buffers?.forwardedNumber(this.cells, who, word) ?? this.memory.load(word);
  }

  loadWide(who: Actor, word: Word): Entry {
    const own = this.buffers?.forwarded(this.cells, who, word);
    if (own === undefined) {
      for (const sanitizer of this.sanitizers) sanitizer.entryRead?.(this, who, word);
      return this.memory.loadWide(word);
    }
    const level = word.frame < 0 ? -1 : this.cells.peek(this.memory.info(word.frame).level);
    return this.memory.entry(own.bits, own.generation, level);
  }

  loadHalf(who: Actor, word: Word, half: Half): EntryHalf {
    refuseWhole(this.memory, word);
    const own = this.buffers?.forwardedHalf(this.cells, who, word, half);
    return own ?? (this.memory.halves as SplitWords).load(word, half);
  }

  store(who: Actor, word: Word, value: number, remark?: () => string): void {
    refuseTable(word, this.levelOf(word.frame));
    if (!this.buffers?.has(who)) this.memory.store(word, value);
    else {
      refuseLarge(word, value);
      const act = (): void => this.memory.store(word, value);
      this.buffers.issue(who, { name: 'store', word, value, act, ...(remark ? { remark } : {}) });
    }
  }

  /** Does something that others see when all earlier stores of the CPU are in memory, and no sooner. */
  later(who: Actor, deferred: Deferred): void {
    if (this.buffers?.has(who)) {
      this.buffers.issue(who, deferred);
      return;
    }
    const { act, ends } = deferred;
    act?.();
    if (ends !== undefined) this.cells.set(ends, this.cells.get(ends) + 1);
  }

  /** Is `op` of `who` possible now, or in the order that `read` stands for? */
  enabled(read: Reader, who: Actor, op: Op): boolean {
    if (who.cpu >= 0 && !this.mayRun(read, who)) return false;
    const { def } = op;
    if (def.guard !== undefined && !def.guard(read, this, who, op.args)) return false;
    return def.ordering !== 'full' || this.isDrained(read, who);
  }

  /** Has everything that the CPU of `who` has stored reached memory? */
  isDrained(read: Reader, who: Actor): boolean {
    return this.buffers === null || this.buffers.isEmpty(read, who);
  }

  /** Has the op any condition at all? Without one the explorer need not ask about other orders. */
  conditional(who: Actor, op: Op): boolean {
    if (who.cpu >= 0 || op.def.guard !== undefined) return true;
    return this.buffers !== null && op.def.ordering === 'full';
  }

  private mayRun(read: Reader, who: Actor): boolean {
    const cpu = this.cpus[who.cpu] as Cpu;
    if (who.kind === 'irq') {
      if (isOut(read, cpu)) return false;
      const run = read.get(cpu.run);
      return run === who.index + 1 || run === TASK; // its first op, irq_enter, has the rest of the condition
    }
    if (!taskMayRun(read, cpu, who.index, who.shared)) return false;
    if (this.buffers === null || !who.shared) return true;
    // Switching tasks takes the run queue's lock, and smp_mb__after_spinlock() for those who have it.
    return read.get(cpu.task) === who.index + 1 || this.buffers.isCpuEmpty(read, cpu);
  }

  /** A task that shares its CPU has it from its first step on until another task takes it. */
  takeCpu(who: Actor): void {
    if (!who.shared) return;
    const cpu = this.cpus[who.cpu] as Cpu;
    if (this.cells.get(cpu.task) !== who.index + 1) this.cells.set(cpu.task, who.index + 1);
  }

  /** An op that may sleep asks this first. `false`: it must not, and the step must not go on. */
  maySleep(who: Actor, what: string): boolean {
    let allowed = true;
    for (const sanitizer of this.sanitizers) {
      if (sanitizer.mightSleep?.(this, who, what) === false) allowed = false;
    }
    return allowed;
  }

  /** Keeps count of the entries that point to each table, if a predicate asks about unlinked ones. */
  relink(before: Entry, after: Entry): void {
    if (!this.tracksLinks) return;
    if (before.table) this.cells.add(this.memory.info(before.frame).links, -1);
    if (after.table) this.cells.add(this.memory.info(after.frame).links, 1);
  }

  /** The actor has taken its last step. A callback was one read-side section from its first to here. */
  finish(who: Actor): void {
    const { cells } = this;
    const own = this.cellsOf(who.index);
    cells.set(own.status, FINISHED);
    if (who.kind !== 'softirq' || cells.get(own.rcuNesting) === 0) return;
    cells.add(this.openCallbacks, -1);
    const open = cells.get(own.rcuNesting) - 1; // what it opened itself and left open stays open
    cells.set(own.rcuNesting, open);
    if (open === 0) cells.set(own.rcuEnded, cells.get(own.rcuEnded) + 1);
  }
}
