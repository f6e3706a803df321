import type { TableKind } from '../../src/arch/table-kind.ts';
import { Missing, type PhysicalMemory } from '../../src/walk/memory.ts';
import type { Random } from '../compare/random.ts';

/** Lays out page tables in memory and remembers what it has put in; it decodes nothing. */

export class Memory implements PhysicalMemory {
  bytes: Buffer = Buffer.alloc(1 << 16);

  write(address: bigint, value: bigint, kind: TableKind): void {
    const at = Number(address);
    while (at + 8 > this.bytes.length) {
      this.bytes = Buffer.concat([this.bytes, Buffer.alloc(this.bytes.length)]);
    }
    if (kind.byteOrder === 'little') this.bytes.writeBigUInt64LE(value, at);
    else this.bytes.writeBigUInt64BE(value, at);
  }

  read(address: bigint, bytes: number): DataView | Missing {
    const { buffer, byteOffset, length } = this.bytes;
    if (address + BigInt(bytes) > BigInt(length)) return new Missing(address, 'no memory');
    return new DataView(buffer, byteOffset + Number(address), bytes);
  }
}

/** Something that is mapped, and how. */
export interface Piece {
  readonly virtual: bigint;
  readonly physical: bigint;
  readonly bytes: bigint;
  /** log2 of the size of its page. */
  readonly shift: number;
  readonly writable: boolean;
}

interface Built {
  readonly address: bigint;
  readonly below: Map<number, Built | 'leaf'>;
}

export class Layout {
  readonly pieces: Piece[] = [];
  readonly root: bigint;
  readonly kind: TableKind;
  private readonly write: (address: bigint, value: bigint) => void;
  private readonly place: (bytes: number, align: number) => bigint;
  private readonly top: Built;

  constructor(
    kind: TableKind,
    write: (address: bigint, value: bigint) => void,
    place: (bytes: number, align: number) => bigint,
  ) {
    this.kind = kind;
    this.write = write;
    this.place = place;
    this.top = this.table(kind.levels.length - 1);
    this.root = this.top.address;
  }

  /** Maps a page of a level; false if something is mapped there. `change` edits the entry. */
  map(
    virtual: bigint,
    physical: bigint,
    level: number,
    writable: boolean,
    change: (entry: bigint) => bigint = (entry) => entry,
  ): boolean {
    let built = this.top;
    for (let at = this.kind.levels.length - 1; at > level; at--) {
      const index = this.index(virtual, at);
      let next = built.below.get(index);
      if (next === 'leaf') return false;
      if (next === undefined) {
        next = this.table(at - 1);
        built.below.set(index, next);
        this.write(built.address + BigInt(8 * index), this.kind.link(at, next.address));
      }
      built = next;
    }
    const index = this.index(virtual, level);
    if (built.below.has(index)) return false;
    built.below.set(index, 'leaf');
    const entry = change(this.kind.map(level, physical, { writable }));
    this.write(built.address + BigInt(8 * index), entry);
    const { shift } = this.kind.levels[level]!;
    this.pieces.push({ virtual, physical, bytes: 1n << BigInt(shift), shift, writable });
    return true;
  }

  /** Where the entry of a level is, on the way to a mapped address. */
  entryAt(virtual: bigint, level: number): bigint {
    let built = this.top;
    for (let at = this.kind.levels.length - 1; at > level; at--) {
      built = built.below.get(this.index(virtual, at)) as Built;
    }
    return built.address + BigInt(8 * this.index(virtual, level));
  }

  private index(virtual: bigint, level: number): number {
    const { shift, bits } = this.kind.levels[level]!;
    return Number((virtual >> BigInt(shift)) % (1n << BigInt(bits)));
  }

  private table(level: number): Built {
    const { bytes, align } = this.kind.levels[level]!;
    const address = this.place(bytes, align);
    const none = this.kind.none(level);
    for (let at = 0; at < bytes; at += 8) this.write(address + BigInt(at), none);
    return { address, below: new Map() };
  }
}

/** Tables one behind the other, with gaps. */
export function placer(random: Random, from = 0x1000): (bytes: number, align: number) => bigint {
  let next = from;
  return (bytes, align) => {
    const unit = Math.max(align, Math.min(bytes, 2048));
    const at = (Math.ceil(next / unit) + random.below(3)) * unit;
    next = at + bytes;
    return BigInt(at);
  };
}

/** Levels at which a kind has leaves. */
export function leafLevels(kind: TableKind): number[] {
  return kind.levels.flatMap((_, level) => {
    try {
      kind.map(level, 0n, { writable: true });
      return [level];
    } catch {
      return [];
    }
  });
}

export function anyBelow(random: Random, limit: bigint): bigint {
  const words = [0, 0, 0].map(() => BigInt(random.below(2 ** 32)));
  return words.reduce((sum, word) => (sum << 32n) | word, 0n) % limit;
}

/** Runs of neighbouring pages of all sizes, some on neighbouring frames, with holes between. */
export function fill(
  layout: Layout,
  random: Random,
  runs: number,
  physicalBits: number,
  levels: readonly number[] = leafLevels(layout.kind),
): void {
  const { kind } = layout;
  let near = 0n;
  for (let run = 0; run < runs; run++) {
    const level = random.chance(0.6) ? 0 : random.of(levels);
    const size = 1n << BigInt(kind.levels[level]!.shift);
    const whole = 1n << BigInt(kind.addressBits);
    const somewhere = anyBelow(random, whole);
    // Often behind the last run, so that runs meet.
    let virtual = ((random.chance(0.5) ? near : somewhere) / size) * size;
    let physical = (anyBelow(random, 1n << BigInt(physicalBits)) / size) * size;
    let writable = random.chance(0.5);
    for (let page = random.between(1, 24); page > 0 && virtual < whole; page--) {
      layout.map(virtual, physical, level, writable);
      virtual += size;
      physical += size;
      const odd = random.below(12);
      if (odd === 0) virtual += size;
      if (odd === 1) physical = (physical + size * 5n) % (1n << BigInt(physicalBits));
      if (odd === 2) writable = !writable;
    }
    near = virtual;
  }
}

export interface Expected {
  readonly start: bigint;
  readonly end: bigint;
  readonly physical: bigint;
  readonly shift: number;
  readonly writable: boolean;
}

/** The ranges that pieces make: from each piece that continues no other, as far as pieces continue. */
export function joined(pieces: readonly Piece[]): Expected[] {
  const key = (virtual: bigint, physical: bigint, it: Piece): string =>
    `${virtual} ${physical} ${it.shift} ${it.writable}`;
  const starts = new Map(pieces.map((it) => [key(it.virtual, it.physical, it), it]));
  const ends = new Set(pieces.map((it) => key(it.virtual + it.bytes, it.physical + it.bytes, it)));
  const ranges = pieces
    .filter((it) => !ends.has(key(it.virtual, it.physical, it)))
    .map((first) => {
      let last = first;
      for (
        let next: Piece | undefined = first;
        next !== undefined;
        next = starts.get(key(last.virtual + last.bytes, last.physical + last.bytes, last))
      ) {
        last = next;
      }
      const { virtual: start, physical, shift, writable } = first;
      return { start, end: last.virtual + last.bytes, physical, shift, writable };
    });
  return ranges.sort((a, b) => (a.start < b.start ? -1 : 1));
}
