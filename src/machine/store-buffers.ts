import type { Actor } from './actor.ts';
import { Interner, type Cell, type Cells, type Reader } from './cells.ts';
import type { Cpu } from './cpu.ts';
import { LOW_MASK, withHalf, type EntryHalf } from './halves.ts';
import type { Half } from './arch.ts';
import type { Machine } from './machine.ts';
import type { Entry, Word } from './memory.ts';
import type { Steps } from './op.ts';
import { drain } from './ops/store-buffer.ts';

/**
 * x86-TSO: every CPU has a first-in first-out store buffer (Owens, Sarkar, Sewell, "A Better x86 Memory
 * Model: x86-TSO", TPHOLs 2009; Intel SDM volume 3A, "Memory Ordering" and "Store Buffer").
 *
 * Guarantee: one run per execution graph (program order, reads-from, coherence), as other checkers count
 * them (engine.md 7.5). Mechanism: a hidden actor per buffer takes one entry per step to memory, and what
 * issue, flush and load have to do with each other is said in cells, so the engine needs no rule of its own:
 *
 *  - The k-th store of a CPU has a slot. Issuing fills it, flushing it waits for that. So issuing and
 *    flushing commute, except where they are the same store.
 *  - A load that its own CPU's latest store serves reads that slot's `overwritten` and nothing else. The next
 *    store to the word in memory sets it, whoever makes it. So the load is ordered against that one alone,
 *    before its own store is flushed as well as after.
 *  - `pending` counts what is in the buffer. Issuing and flushing update it, which commutes; who needs an
 *    empty buffer reads it.
 *
 * What a CPU issued last to a word, and how much, only its own steps ask: satellites. They are kept per actor,
 * because a CPU changes actors (interrupts, scheduling) only while its buffer is empty.
 */
export type MemoryModel = 'sc' | 'tso';

/** What waits in a buffer: a store, or something else that others notice in the order of the stores. */
export interface Deferred {
  /** What it is; with the word, the value and `identity` it says all about the effect. */
  readonly name: string;
  readonly identity?: object;
  /** For stores: where, and what this CPU's loads find there meanwhile. */
  readonly word?: Word;
  readonly value?: number | Entry | EntryHalf;
  /** What it does to memory. */
  readonly act?: () => void;
  /** What a diagram says where it happens (`pteA unlinked`). */
  readonly remark?: () => string | undefined;
  /** A count of ended read-side sections that goes up: grace periods look at it. */
  readonly ends?: Cell | undefined;
}

/** One store as the storing CPU sees it. Entries are said by text. */
export interface Stored {
  readonly step: number;
  readonly cell: Cell;
  readonly value: number | string | undefined;
  readonly before: number | string | undefined;
}

interface Issued extends Deferred {
  readonly who: Actor;
}

interface Slot {
  readonly id: number;
  /** Number of its entry + 1; 0: nothing has been issued here. Keeps its value when it is flushed. */
  readonly entry: Cell;
  /** 1: the store is in memory, and so is a later one to the same word. */
  readonly overwritten: Cell;
}

interface StoreBuffer {
  readonly index: number;
  readonly flusher: Actor;
  /** Entries that are issued and not flushed. */
  readonly pending: Cell;
  /** Satellite: entries issued. */
  readonly issued: Cell;
  readonly slots: Slot[];
}

export class StoreBuffers {
  private readonly machine: Machine;
  private readonly buffers: StoreBuffer[] = [];
  private readonly ofCpu: (StoreBuffer | undefined)[] = [];
  private readonly ofTask: Map<number, StoreBuffer> = new Map();
  private readonly slots: Slot[] = [];
  private readonly overwritten: Set<Cell> = new Set();
  private readonly entries: Interner<Issued>;
  /** Per actor: for each word (its cell) a satellite that says which slot holds its latest store. */
  private readonly latest: Map<Cell, Cell>[] = [];
  /** Per count of ended sections: how many ends have been issued that nobody sees yet. */
  private readonly unseen: Map<Cell, Cell> = new Map();
  private readonly numbers: WeakMap<object, number> = new WeakMap();
  private identities = 0;

  constructor(machine: Machine) {
    this.machine = machine;
    this.entries = new Interner((entry) => this.keyOf(entry));
  }

  /**
   * Puts the buffers into operation: whatever was done before is in memory. Returns what their actors do.
   * A task that no CPU of the machine executes has a CPU of its own; hosts and callbacks have no buffer.
   */
  start(): { readonly actor: Actor; readonly begin: () => Steps<never> }[] {
    const { cpus, actors } = this.machine;
    if (this.buffers.length === 0) {
      const alone = actors.filter(({ cpu, kind }) => cpu < 0 && kind === 'task');
      for (const cpu of cpus) this.ofCpu[cpu.index] = this.make(cpu.name);
      for (const task of alone) this.ofTask.set(task.index, this.make(task.column));
    }
    return this.buffers.map(({ index, flusher }) => ({
      actor: flusher,
      begin: () => drain(index),
    }));
  }

  private make(column: string): StoreBuffer {
    const { cells } = this.machine;
    const flusher = this.machine.addActor({
      name: `store buffer of ${column}`,
      column,
      cpu: -1,
      kind: 'buffer',
      daemon: true,
      shared: false,
      creator: -1,
    });
    const buffer = {
      index: this.buffers.length,
      flusher,
      pending: cells.tally(),
      issued: cells.tally(),
      slots: [],
    };
    this.buffers.push(buffer);
    return buffer;
  }

  private of(who: Actor): StoreBuffer | undefined {
    return who.cpu >= 0 ? this.ofCpu[who.cpu] : this.ofTask.get(who.index);
  }

  /** Do the stores of `who` go through a buffer? */
  has(who: Actor): boolean {
    return this.of(who) !== undefined;
  }

  /** Who takes the stores of `who` to memory. */
  flusherOf(who: Actor): number | undefined {
    return this.of(who)?.flusher.index;
  }

  /** Is everything in memory that the CPU of `who` has issued? */
  isEmpty(read: Reader, who: Actor): boolean {
    const buffer = this.of(who);
    return buffer === undefined || read.get(buffer.pending) === 0;
  }

  isCpuEmpty(read: Reader, cpu: Cpu): boolean {
    const buffer = this.ofCpu[cpu.index];
    return buffer === undefined || read.get(buffer.pending) === 0;
  }

  /** How many entries each buffer has been given: says which of them a step has issued. */
  issuedSoFar(): number[] {
    return this.buffers.map(({ issued }) => this.machine.cells.peek(issued));
  }

  issue(who: Actor, deferred: Deferred): void {
    const { cells } = this.machine;
    const buffer = this.of(who) as StoreBuffer;
    const at = cells.peek(buffer.issued);
    cells.poke(buffer.issued, at + 1);
    const slot = this.slot(buffer, at);
    cells.set(slot.entry, this.entries.id({ ...deferred, who }) + 1);
    cells.add(buffer.pending, 1);
    for (const cell of this.written(deferred)) cells.poke(this.latestOf(who, cell), slot.id + 1);
    if (deferred.ends !== undefined) cells.add(this.unseenOf(deferred.ends), 1);
  }

  /** What `who` has stored since that step, to which cells, and what these said to `who` before. In order. */
  storedSince(who: Actor, since: number): Stored[] {
    const buffer = this.of(who);
    if (buffer === undefined) return [];
    const { cells } = this.machine;
    const stored: Stored[] = [];
    for (let at = cells.peek(buffer.issued) - 1; at >= 0; at--) {
      const { entry } = this.slot(buffer, at);
      const step = cells.event[cells.lastWrite[entry] as number] as number;
      if (step <= since) break;
      const issued = this.entries.at(cells.peek(entry) - 1);
      for (const cell of this.written(issued)) {
        const before = this.valueBefore(buffer, at, cell, step);
        stored.push({ step, cell, value: plainValue(issued), before });
      }
    }
    return stored.reverse();
  }

  /** What the cell said to the buffer's CPU when it issued entry number `at`. */
  private valueBefore(
    buffer: StoreBuffer,
    at: number,
    cell: Cell,
    step: number,
  ): number | string | undefined {
    for (let earlier = at - 1; earlier >= 0; earlier--) {
      const { entry, overwritten } = this.slot(buffer, earlier);
      const issued = this.entries.at(this.machine.cells.peek(entry) - 1);
      if (!this.written(issued).includes(cell)) continue;
      if (this.valueAt(overwritten, step) === 0) return plainValue(issued);
      break;
    }
    return this.valueAt(cell, step);
  }

  /** What the cell said behind that step. */
  private valueAt(cell: Cell, step: number): number {
    const { cells } = this.machine;
    let value = cells.peek(cell);
    for (let write = cells.lastWrite[cell] as number; write >= 0;) {
      if ((cells.event[write] as number) <= step) break;
      value = cells.old[write] as number;
      write = cells.prevWrite[write] as number;
    }
    return value;
  }

  /** Whether a cell is only there to say which store is the latest in memory: nothing of the program's. */
  isBookkeeping(cell: Cell): boolean {
    return this.overwritten.has(cell);
  }

  /** May the buffer's entry number `at` go to memory? */
  isIssued(read: Reader, buffer: number, at: number): boolean {
    return read.get(this.slot(this.buffers[buffer] as StoreBuffer, at).entry) !== 0;
  }

  /** What was issued as entry number `at`. */
  issued(index: number, at: number): Deferred {
    const { entry } = this.slot(this.buffers[index] as StoreBuffer, at);
    return this.entries.at(this.machine.cells.peek(entry) - 1);
  }

  /** The entry reaches memory. A pointer that was right when it was issued may dangle by now. */
  flush(index: number, at: number): void {
    const { machine } = this;
    const { cells, memory } = machine;
    const buffer = this.buffers[index] as StoreBuffer;
    const slot = this.slot(buffer, at);
    const entry = this.entries.at(cells.get(slot.entry) - 1);
    const { word, ends } = entry;
    cells.add(buffer.pending, -1);
    if (word === undefined) entry.act?.();
    else if (this.follow(entry.who, word)) {
      entry.act?.();
      for (const cell of this.written(entry)) memory.storedFrom(cell, slot.overwritten);
    }
    if (ends === undefined) return;
    cells.add(this.unseenOf(ends), -1);
    cells.set(ends, cells.get(ends) + 1);
  }

  /** Its issuer has long gone on, so a store that finds its page gone stops nobody. */
  private follow(who: Actor, { frame, generation, name }: Word): boolean {
    const { machine } = this;
    const what = `${name}, by a store that was still buffered,`;
    const before = machine.found.length;
    const allowed = machine.dereference(who, frame, generation, what);
    for (let at = before; at < machine.found.length; at++) {
      machine.found[at] = { ...(machine.found[at] as Machine['found'][number]), stops: false };
    }
    return allowed;
  }

  /** The cells that a store writes: of a word whose halves are apart, both, or the one it is a store to. */
  private written({ word, value }: Deferred): readonly Cell[] {
    if (word === undefined) return [];
    if (word.highTarget === 0 || typeof value !== 'object') return [word.cell];
    if ('half' in value) return [value.half === 'low' ? word.cell : word.high];
    return [word.cell, word.high];
  }

  /** The latest store of `who` to the whole word, unless another one has overwritten it in memory. */
  forwarded(read: Reader, who: Actor, word: Word): Entry | undefined {
    const stored = this.latestStore(who, word, word.cell);
    if (stored === undefined || !isWhole(stored.entry.value)) return undefined;
    if (word.highTarget !== 0 && stored.slot !== this.latestStore(who, word, word.high)?.slot) {
      return undefined; // a half of it has been stored since; `holdsPart` has waited for that
    }
    return read.get(stored.slot.overwritten) === 0 ? stored.entry.value : undefined;
  }

  /** The low half of what `who` has stored to the word, or all of it if it is not wide. */
  forwardedNumber(read: Reader, who: Actor, word: Word): number | undefined {
    const stored = this.latestStore(who, word, word.cell);
    if (stored === undefined || read.get(stored.slot.overwritten) !== 0) return undefined;
    const { value } = stored.entry;
    if (typeof value === 'number') return value;
    return Number(BigInt(value?.bits ?? 0) & LOW_MASK) | 0;
  }

  /** A half of the word as `who` has stored it, by itself or with the other one. */
  forwardedHalf(read: Reader, who: Actor, word: Word, half: Half): EntryHalf | undefined {
    const stored = this.latestStore(who, word, half === 'low' ? word.cell : word.high);
    if (stored === undefined || read.get(stored.slot.overwritten) !== 0) return undefined;
    const { value } = stored.entry;
    if (typeof value === 'object' && 'half' in value) return value;
    const of = typeof value === 'object' ? value : withHalf(NOTHING, 'low', value ?? 0);
    return this.machine.memory.halves?.half(half, of);
  }

  /** The latest store of `who` to a cell of the word, in the life of its page that the pointer means. */
  private latestStore(
    who: Actor,
    word: Word,
    written: Cell,
  ): { slot: Slot; entry: Issued } | undefined {
    const cell = this.latest[who.index]?.get(written);
    const id = cell === undefined ? 0 : this.machine.cells.peek(cell);
    if (id === 0) return undefined;
    const slot = this.slots[id - 1] as Slot;
    const entry = this.entries.at(this.machine.cells.peek(slot.entry) - 1);
    return entry.word?.generation === word.generation ? { slot, entry } : undefined;
  }

  /**
   * Is a part of a wide word in the buffer, and only a part? Processors do not put a load together from a
   * store and memory: it waits for the store.
   */
  holdsPart(read: Reader, who: Actor, word: Word): boolean {
    const low = this.latestStore(who, word, word.cell);
    const high = word.highTarget === 0 ? low : this.latestStore(who, word, word.high);
    if (low?.slot === high?.slot && (low === undefined || isWhole(low.entry.value))) return false;
    const isInMemory = this.isEmpty(read, who); // asked in any case: either of the two ends the wait
    const kept = [low, high].filter(
      (stored) => stored !== undefined && read.get(stored.slot.overwritten) === 0,
    );
    return kept.length > 0 && !isInMemory;
  }

  /** Ends of read-side sections that have been issued and do not count yet. */
  unseenEnds(read: Reader, count: Cell): number {
    return read.get(this.unseenOf(count));
  }

  private slot(buffer: StoreBuffer, at: number): Slot {
    let slot = buffer.slots[at];
    if (slot === undefined) {
      const { cells } = this.machine;
      slot = { id: this.slots.length, entry: cells.tally(), overwritten: cells.allocate() };
      this.overwritten.add(slot.overwritten);
      this.slots.push(slot);
      buffer.slots[at] = slot;
    }
    return slot;
  }

  private latestOf(who: Actor, cell: Cell): Cell {
    return cellFor((this.latest[who.index] ??= new Map()), cell, this.machine.cells);
  }

  private unseenOf(count: Cell): Cell {
    return cellFor(this.unseen, count, this.machine.cells);
  }

  private keyOf({ who, name, identity, word, value, ends }: Issued): string {
    const what = identity === undefined ? name : `${name}#${this.numberOf(identity)}`;
    const said = typeof value === 'object' ? saidBy(value) : value;
    return `${who.index} ${what} ${word?.address}/${word?.generation} ${said} ${ends}`;
  }

  private numberOf(identity: object): number {
    let number = this.numbers.get(identity);
    if (number === undefined) this.numbers.set(identity, (number = this.identities++));
    return number;
  }
}

const NOTHING = { bits: 0n, generation: 0 };

function plainValue({ value }: Issued): number | string | undefined {
  return typeof value === 'object' ? saidBy(value) : value;
}

function isWhole(value: Issued['value']): value is Entry {
  return typeof value === 'object' && !('half' in value);
}

function saidBy(value: Entry | EntryHalf): string {
  const { bits, generation } = 'half' in value ? value.of : value;
  return `${'half' in value ? value.half : ''}${bits}@${generation}`;
}

function cellFor(map: Map<Cell, Cell>, key: Cell, cells: Cells): Cell {
  let cell = map.get(key);
  if (cell === undefined) map.set(key, (cell = cells.tally()));
  return cell;
}
