import { GracewalkError } from '../base/errors.ts';
import type { ArchDescriptor } from './arch.ts';

/**
 * Physical frame numbers that setup has chosen.
 *
 * Frames are numbered as they come, and an entry that maps one holds that number. Where the bits matter (two
 * pages whose entries have the same low half), a frame can be given a number of its own; everybody else goes
 * on calling it by its index. Bits that name no frame of the machine, which only a torn entry has, name
 * memory that is nobody's: a frame that is free and never handed out.
 */
export class FrameNumbers {
  private readonly indices: Map<number, number> = new Map();
  private readonly numbers: Map<number, number> = new Map();
  private readonly make: (name: string) => number;

  /** `make` is the index of the frame of that name. */
  constructor(make: (name: string) => number) {
    this.make = make;
  }

  choose(index: number, number: number, name: string): void {
    if (number % 2 ** HALF < OWN || !Number.isSafeInteger(number) || this.indices.has(number)) {
      throw new GracewalkError('E118', `${name} cannot be frame 0x${number.toString(16)}`, {
        notes: [
          'a chosen frame number is given once, and its lowest 20 bits are at least 0x1000:',
          'smaller numbers are those that the machine gives out itself',
        ],
        help: 'choose 0x101000, 0x201000, ... for frames that differ in the high half only',
      });
    }
    this.indices.set(number, index);
    this.numbers.set(index, number);
  }

  private numberOf(index: number): number {
    return this.numbers.get(index) ?? index;
  }

  private indexOf(number: number): number {
    if (number < OWN) return number;
    let index = this.indices.get(number);
    if (index === undefined) {
      index = this.make(`frame 0x${number.toString(16)}`);
      this.indices.set(number, index);
      this.numbers.set(index, number);
    }
    return index;
  }

  /** The descriptor whose entries lead to frames by their index. */
  descriptor(arch: ArchDescriptor): ArchDescriptor {
    return Object.freeze({
      ...arch,
      decode: (level, bits) => {
        const entry = arch.decode(level, bits);
        if (entry.frame < OWN || !entry.present) return entry;
        return { ...entry, frame: this.indexOf(entry.frame) };
      },
      table: (level, frame) => arch.table(level, this.numberOf(frame)),
      leaf: (level, frame, permissions) => arch.leaf(level, this.numberOf(frame), permissions),
    } satisfies ArchDescriptor);
  }
}

/** Numbers below are the machine's own. */
const OWN = 0x1000;
/** Bits of a frame number in the low half of an entry of 64 bits with pages of 4 KiB. */
const HALF = 20;
