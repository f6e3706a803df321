import type { ArchDescriptor, DecodedEntry } from './arch.ts';
import { Interner, type Cell, type Cells } from './cells.ts';
import { setupOnly } from './fn.ts';
import { FrameNumbers } from './frame-numbers.ts';
import { highBits, isSplit, lowBits, type Stored } from './halves.ts';
import { FREE, lifeGeneration, makeLife } from './life.ts';
import { refuseLarge, refuseNarrow } from './refusals.ts';
import { SplitWords } from './split-words.ts';
import { withStages } from './stages.ts';

export * from './life.ts';
export { refuseLarge, refuseNarrow } from './refusals.ts';

/**
 * Physical memory: typed words, page frames and their lifetimes.
 *
 * A word is one or two cells, so that the halves of a 64-bit entry can be read apart where an architecture
 * does so (split-words.ts); elsewhere the high half is a satellite of the low one. Words of a frame lose
 * their contents when the frame is handed out again (an epoch beside each word, compared with the frame's
 * generation), because most of the bugs that matter need real reuse.
 *
 * Pointers carry a generation, beside the word and never in its bits: the generation in force when the
 * pointer was made. A dereference compares it with the frame's present one (the idea of tag-based KASAN).
 * Equality of entries ignores it, or the ABA problem would vanish from the model.
 */

/** Addresses from here on are kernel data that is never freed; below are page frames. */
export const STATIC_BASE: number = 2 ** 40;
export const PAGE_SHIFT = 12;
export const PAGE_SIZE: number = 1 << PAGE_SHIFT;

/** A pointer to a word, as actors hold it. Interned and frozen: equal pointers are the same object. */
export interface Word {
  readonly address: number;
  /** What the source calls it: `mm->mmap_lock`, `pteA[1]`. */
  readonly name: string;
  /** The frame that contains it, or -1. */
  readonly frame: number;
  /** The generation of that frame when the pointer was made. */
  readonly generation: number;
  /** Low half. */
  readonly cell: Cell;
  /** High half, the target's generation and the content's epoch; 0 where the word is not wide. */
  readonly high: Cell;
  readonly target: Cell;
  readonly epoch: Cell;
  /** With entries in halves, instead of generations: which values the low and the high half are of. */
  readonly highTarget: Cell;
}

/** A pointer to entry `index` of the table in `frame`, as actors compute it from a value they read. */
export interface EntryPointer {
  readonly frame: number;
  readonly generation: number;
  readonly index: number;
  /** The level of the table for which the actor takes the frame, if it is a page table. */
  readonly level?: number;
}

/**
 * The value of a wide word: 64 bits, and the generation of the frame they point to; for a word of a page
 * table also what the bits mean at its level. Interned, frozen. Equal entries have equal `bits`.
 */
export interface Entry extends DecodedEntry, Stored {}

/** A page frame as actors hold it (`struct page *`). Interned, frozen. */
export interface Page {
  readonly frame: number;
  readonly generation: number;
}

/**
 * What a struct page says besides its reference count, each a word of its own: flags are set and tested one
 * by one, and two flags are no conflict. A struct page is never freed, so following a pointer to one is
 * always possible; what it says is about whatever the frame is by now. All are 0 in a frame just handed out.
 */
export const PAGE_FIELDS = [
  '_mapcount',
  '_pincount',
  'PG_head',
  'PG_locked',
  'PG_dirty',
  'PG_referenced',
  'PG_swapbacked',
  'PG_anon_exclusive',
  'mapping',
] as const;

export type PageFields = Readonly<Record<(typeof PAGE_FIELDS)[number], Word>>;

export interface FrameInfo {
  readonly index: number;
  readonly name: string;
  readonly life: Cell;
  /** `page->_refcount`; struct pages are never freed, so this is static. */
  readonly refcount: Word;
  readonly fields: PageFields;
  /** Level of the page table it holds (0 is the level of leaf entries), or -1. */
  readonly level: Cell;
  /** Satellite of `life`: who freed it last, actor index + 1. */
  readonly freedBy: Cell;
  /** How many entries point to it as a table; kept only if a predicate asks about unlinked tables. */
  readonly links: Cell;
}

interface WordCells {
  readonly cell: Cell;
  readonly high: Cell;
  readonly target: Cell;
  readonly epoch: Cell;
  readonly highTarget: Cell;
  readonly name: string;
}

const notAnEntry: DecodedEntry = {
  present: false,
  table: false,
  none: false,
  writable: false,
  frame: -1,
};

export class Memory {
  readonly frames: FrameInfo[] = [];
  readonly frameByName: Map<string, number> = new Map();
  private readonly words: Map<number, WordCells> = new Map();
  private readonly pointers: Map<string, Word> = new Map();
  private readonly entries: Map<bigint, Entry>[][] = [];
  private readonly pages: Page[][] = [];
  private readonly tables: number[][] = [];
  private readonly valueNames: Map<Cell, Readonly<Record<number, string>>> = new Map();
  private nextStatic = STATIC_BASE;
  /** Freed frames that may be handed out again: how many, and (satellite) which. */
  readonly freeCount: Cell;
  readonly freeSet: Cell;
  readonly sets: Interner<readonly number[]> = new Interner((list) => list.join());
  /**
   * With store buffers, per word (its cell) a satellite: the cell that says whether the store that wrote the
   * word last has been overwritten; 0 if that was none of a buffer's.
   */
  private readonly writtenFrom: Map<Cell, Cell> | null;
  private readonly cells: Cells;
  /** Frames that have chosen numbers; and the descriptor in which frames are indices. */
  readonly numbers: FrameNumbers = new FrameNumbers((name) => this.frame(name).index);
  readonly arch: ArchDescriptor;
  /** Where the halves of entries are accessed apart: each then has its own footprint. */
  readonly halves: SplitWords | null;

  constructor(cells: Cells, arch: ArchDescriptor, buffered: boolean) {
    this.writtenFrom = buffered ? new Map() : null;
    this.cells = cells;
    this.arch = this.numbers.descriptor(withStages(arch));
    this.halves = isSplit(arch) ? new SplitWords(cells, this) : null;
    this.freeCount = cells.allocate();
    this.sets.id([]);
    this.freeSet = cells.allocate();
  }

  /** Reserves static kernel memory. Returns its address. */
  reserve(bytes: number): number {
    const address = this.nextStatic;
    this.nextStatic += (bytes + 7) & ~7;
    return address;
  }

  /** The word at `address`, as a pointer of `generation`. Declared on first use; `name` is for people. */
  at(address: number, generation: number, name?: string, initial = 0, wide = true): Word {
    const key = `${address}/${generation}`;
    const known = this.pointers.get(key);
    if (known) return known;
    let cells = this.words.get(address);
    const frame = address < STATIC_BASE ? Math.floor(address / PAGE_SIZE) : -1;
    if (!cells) {
      const word = wide || frame >= 0;
      cells = {
        cell: this.cells.allocate(initial),
        high: word ? this.cells.allocate() : 0,
        target: word ? this.cells.allocate() : 0,
        epoch: word ? this.cells.allocate() : 0,
        highTarget: word && this.halves ? this.cells.allocate() : 0,
        name: name ?? this.nameOf(address),
      };
      this.words.set(address, cells);
      if (frame >= 0) (this.tables[frame] ??= []).push(address);
    }
    const pointer: Word = Object.freeze({ address, frame, generation, ...cells });
    this.pointers.set(key, pointer);
    return pointer;
  }

  /** The word that a pointer computed from an entry means. */
  resolve(place: Word | EntryPointer): Word {
    if ('cell' in place) return place;
    return this.at(place.frame * PAGE_SIZE + place.index * 8, place.generation);
  }

  /** A named 32-bit word of static kernel memory. `values` names some of its values, for diagrams. */
  variable(name: string, initial = 0, values?: Readonly<Record<number, string>>): Word {
    setupOnly();
    const word = this.field(name, initial);
    if (values) this.valueNames.set(word.cell, values);
    return word;
  }

  /** A word of a struct page: a frame that an entry's bits name may come up at any time. */
  private field(name: string, initial = 0): Word {
    return this.at(this.reserve(8), 0, name, initial, false);
  }

  /**
   * A named word of static kernel memory that holds a pointer, NULL at first. `tags` names values of its low
   * bits, for diagrams.
   */
  pointer(name: string, tags?: Readonly<Record<number, string>>): Word {
    setupOnly();
    const word = this.at(this.reserve(8), 0, name);
    if (tags) this.valueNames.set(word.cell, tags);
    return word;
  }

  /** What a pointer with tags leads to, `sp[1] | TAG`; undefined of a word that holds none such. */
  nameTagged({ cell }: Word, { bits }: Stored): string | undefined {
    const tags = this.valueNames.get(cell);
    if (!tags) return undefined;
    const address = Number(bits & ~7n);
    const tag = tags[Number(bits & 7n)];
    const target = address === 0 ? 'NULL' : this.nameOf(address);
    return tag === undefined ? target : `${target} | ${tag}`;
  }

  /** A value as the kernel's source calls it, or the number. */
  nameValue(word: Word, value: number): string {
    return this.valueNames.get(word.cell)?.[value] ?? String(value);
  }

  private nameOf(address: number): string {
    const frame = this.frames[Math.floor(address / PAGE_SIZE)];
    const offset = address % PAGE_SIZE;
    return frame ? `${frame.name}[${offset >> 3}]` : `0x${address.toString(16)}`;
  }

  /** The words of a frame that anybody ever pointed to, by ascending address. */
  wordsOf(frame: number): readonly number[] {
    return [...(this.tables[frame] ?? [])].sort((a, b) => a - b);
  }

  /** Everything that anybody ever pointed to, as a pointer of the present; for people, so nothing is recorded. */
  everyWord(): Word[] {
    return [...this.words.keys()].map((address) => {
      const frame = address < STATIC_BASE ? Math.floor(address / PAGE_SIZE) : -1;
      const life = frame < 0 ? 0 : this.cells.peek(this.info(frame).life);
      return this.at(address, lifeGeneration(life));
    });
  }

  /** A page frame, free at first. Equal names are the same frame in every order. */
  frame(name: string): FrameInfo {
    const known = this.frameByName.get(name);
    if (known !== undefined) return this.frames[known] as FrameInfo;
    const index = this.frames.length === 0 ? 1 : this.frames.length;
    const info: FrameInfo = {
      index,
      name,
      life: this.cells.allocate(makeLife(0, FREE)),
      refcount: this.field(`${name}->_refcount`),
      fields: this.pageFields(name),
      level: this.cells.allocate(-1),
      freedBy: this.cells.allocate(0),
      links: this.cells.allocate(0),
    };
    if (this.frames.length === 0) this.frames.push(info); // index 0 is never a frame of its own
    this.frames[index] = info;
    this.frameByName.set(name, index);
    return info;
  }

  private pageFields(name: string): PageFields {
    const fields = PAGE_FIELDS.map((field) => [field, this.field(`${name}->${field}`)] as const);
    return Object.freeze(Object.fromEntries(fields) as PageFields);
  }

  /**
   * Frames sorted by name. Which of them an outcome means must be the same in every thread and in a replay, and
   * frames have the numbers in which a search happens to meet them.
   */
  byName(frames: readonly number[]): number[] {
    const key = (frame: number): string => this.info(frame).name;
    return frames.toSorted((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a - b));
  }

  info(frame: number): FrameInfo {
    return this.frames[frame] as FrameInfo;
  }

  /** The value `bits`, pointing into `generation` of its frame, read at `level` (-1: not a page table). */
  entry(bits: bigint, generation: number, level = -1): Entry {
    const byLevel = (this.entries[level + 1] ??= []);
    const byBits = (byLevel[generation] ??= new Map());
    let entry = byBits.get(bits);
    if (!entry) {
      const meaning =
        level < 0 ? { ...notAnEntry, none: bits === 0n } : this.arch.decode(level, bits);
      entry = Object.freeze({ bits, generation, ...meaning });
      byBits.set(bits, entry);
    }
    return entry;
  }

  /** What a word of a fresh table (or of any other fresh frame) says. */
  none(level: number): Entry {
    return this.entry(level < 0 ? 0n : this.arch.none(level), 0, level);
  }

  page(frame: number, generation: number): Page {
    const list = (this.pages[frame] ??= []);
    return (list[generation] ??= Object.freeze({ frame, generation }));
  }

  /** The wide value of a word, without recording: the caller has recorded the low half. */
  peekWide(word: Word): Entry {
    const { cells } = this;
    let level = -1;
    if (word.frame >= 0) {
      const info = this.info(word.frame);
      level = cells.peek(info.level);
      if (cells.peek(word.epoch) !== lifeGeneration(cells.peek(info.life))) return this.none(level);
    }
    if (this.halves !== null) {
      const { bits, generation } = this.halves.peek(word);
      return this.entry(bits, generation, level);
    }
    const low = BigInt(cells.peek(word.cell) >>> 0);
    const high = BigInt(cells.peek(word.high) >>> 0);
    return this.entry((high << 32n) | low, cells.peek(word.target), level);
  }

  loadWide(word: Word): Entry {
    refuseNarrow(word);
    this.cells.get(word.cell);
    if (this.halves !== null) this.cells.get(word.high);
    return this.peekWide(word);
  }

  storeWide(word: Word, value: Stored): void {
    refuseNarrow(word);
    const { cells } = this;
    if (this.halves !== null) {
      this.halves.storeWide(word, value);
      return;
    }
    this.overwrite(word.cell);
    cells.set(word.cell, lowBits(value) | 0);
    cells.poke(word.high, highBits(value) | 0);
    cells.poke(word.target, value.generation);
    if (word.frame >= 0) {
      cells.poke(word.epoch, lifeGeneration(cells.peek(this.info(word.frame).life)));
    }
  }

  load(word: Word): number {
    const value = this.cells.get(word.cell);
    if (word.frame < 0) return value;
    const fresh =
      this.cells.peek(word.epoch) === lifeGeneration(this.cells.peek(this.info(word.frame).life));
    return fresh ? value : 0;
  }

  store(word: Word, value: number): void {
    refuseLarge(word, value);
    if (this.halves !== null && word.high !== 0) {
      this.halves.storeNumber(word, value);
      return;
    }
    this.overwrite(word.cell);
    this.cells.set(word.cell, value);
    if (word.frame >= 0) {
      this.cells.set(word.epoch, lifeGeneration(this.cells.peek(this.info(word.frame).life)));
    }
  }

  /** The cell has just been written by a buffered store; `overwritten` is what the next store to it sets. */
  storedFrom(cell: Cell, overwritten: Cell): void {
    const map = this.writtenFrom as Map<Cell, Cell>;
    let last = map.get(cell);
    if (last === undefined) map.set(cell, (last = this.cells.allocate()));
    this.cells.poke(last, overwritten);
  }

  /** Tells those whose loads the buffered store before this one still served. */
  overwrite(word: Cell): void {
    const last = this.writtenFrom?.get(word);
    if (last === undefined) return;
    const overwritten = this.cells.peek(last);
    if (overwritten === 0) return;
    this.cells.set(overwritten, 1);
    this.cells.poke(last, 0);
  }
}
