import type { Half } from './arch.ts';
import { Interner, type Cells } from './cells.ts';
import { highBits, joined, lowBits, withHalf, type EntryHalf, type Stored } from './halves.ts';
import { lifeGeneration } from './life.ts';
import type { Memory, Word } from './memory.ts';

/** Wide words whose halves are cells of their own, each with the value that it is a half of as a satellite. */
export class SplitWords {
  private readonly values: Interner<Stored> = new Interner((v) => `${v.bits} ${v.generation}`);
  private readonly halves: Map<string, EntryHalf> = new Map();
  private readonly cells: Cells;
  private readonly memory: Memory;

  constructor(cells: Cells, memory: Memory) {
    this.cells = cells;
    this.memory = memory;
    this.values.id({ bits: 0n, generation: 0 }); // a cell's first value
  }

  half(half: Half, { bits, generation }: Stored): EntryHalf {
    const key = `${half} ${bits} ${generation}`;
    let known = this.halves.get(key);
    if (known === undefined) {
      const of = Object.freeze({ bits, generation });
      known = Object.freeze({ half, bits: half === 'low' ? lowBits(of) : highBits(of), of });
      this.halves.set(key, known);
    }
    return known;
  }

  private valueOf(word: Word, half: Half): Stored {
    return this.values.at(this.cells.peek(half === 'low' ? word.target : word.highTarget));
  }

  /** Both halves, without recording. */
  peek(word: Word): Stored {
    return joined(this.valueOf(word, 'low'), this.valueOf(word, 'high'));
  }

  load(word: Word, half: Half): EntryHalf {
    this.cells.get(half === 'low' ? word.cell : word.high);
    return this.half(half, this.isOutdated(word) ? this.nothing(word) : this.valueOf(word, half));
  }

  /** Stores one half of `value`. The other one goes on saying what it says, so it is not written. */
  store(word: Word, half: Half, value: Stored): void {
    const other = half === 'low' ? 'high' : 'low';
    const none = this.outdated(word);
    this.put(word, half, value);
    if (none === null) return;
    const { cells } = this;
    if (other === 'low') cells.poke(word.cell, lowBits(none) | 0);
    else cells.poke(word.high, highBits(none) | 0);
    cells.poke(other === 'low' ? word.target : word.highTarget, this.values.id(none));
  }

  storeWide(word: Word, value: Stored): void {
    this.outdated(word);
    this.put(word, 'low', value);
    this.put(word, 'high', value);
  }

  /** Stores a number: the low half. */
  storeNumber(word: Word, value: number): void {
    const before = this.isOutdated(word) ? this.nothing(word) : this.valueOf(word, 'low');
    this.store(word, 'low', withHalf(before, 'low', value));
  }

  private put(word: Word, half: Half, value: Stored): void {
    const { cells } = this;
    const low = half === 'low';
    const cell = low ? word.cell : word.high;
    this.memory.overwrite(cell);
    cells.set(cell, (low ? lowBits(value) : highBits(value)) | 0);
    cells.poke(low ? word.target : word.highTarget, this.values.id(value));
  }

  /** Is the word of a frame that has been handed out again since it was stored to? */
  private isOutdated(word: Word): boolean {
    if (word.frame < 0) return false;
    const { life } = this.memory.info(word.frame);
    return this.cells.peek(word.epoch) !== lifeGeneration(this.cells.peek(life));
  }

  private nothing(word: Word): Stored {
    return this.memory.none(this.cells.peek(this.memory.info(word.frame).level));
  }

  /** From now on the word's cells have its contents. What they must say if so far they had not, or null. */
  private outdated(word: Word): Stored | null {
    if (!this.isOutdated(word)) return null;
    const { life } = this.memory.info(word.frame);
    this.cells.poke(word.epoch, lifeGeneration(this.cells.peek(life)));
    return this.nothing(word);
  }
}
