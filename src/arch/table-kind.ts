import type { Citation, Fact } from '../base/citation.ts';
import { GracewalkError } from '../base/errors.ts';
import type {
  ArchDescriptor,
  DecodedEntry,
  EntryAccess,
  HardwareWrites,
  LeafMarks,
  LeafPermissions,
} from '../machine/arch.ts';
import { Decoder, type Decoded } from './decode.ts';
import { addressValues, encode, type EntryFormat, type Values } from './entry-format.ts';
import type { Wait } from './waits.ts';

/** One architecture's page tables of one kind: their shape, the formats of their entries, and the rules. */
export interface TableKind {
  /** `x86_64`, `ept`: as users write it. */
  readonly name: string;
  readonly title: string;
  /** 2: it translates guest-physical addresses. */
  readonly stage: 1 | 2;
  /** Of entries in memory. */
  readonly byteOrder: 'little' | 'big';
  /** log2 of the base page's size. */
  readonly pageShift: number;
  /** Leaf tables first. */
  readonly levels: readonly Level[];
  /** Width of the addresses that it translates. */
  readonly addressBits: number;
  /** Higher bits of an address: copies of its highest bit, zero, or a choice of the root. */
  readonly upperBits: 'sign' | 'zero' | 'root';
  readonly formats: readonly EntryFormat[];
  /** Registers and root entries that point to the top-level table; they have no level. */
  readonly roots: readonly EntryFormat[];
  readonly access: EntryAccess;
  readonly hardware: HardwareWrites;
  readonly rules: Rules;

  decode(level: number, bits: bigint): Decoded;
  /** As `decode`, and how other kernel versions read the same bits. */
  readings(level: number, bits: bigint): readonly Decoded[];
  /** What a fresh table is full of. */
  none(level: number): bigint;
  /** An entry that points to the next-level table at `address`. */
  link(level: number, address: bigint): bigint;
  /** An entry that maps the page at `address`. */
  map(level: number, address: bigint, permissions: LeafPermissions): bigint;
  /** An entry that is not present and says to software where the page is: a migration entry. */
  remember(level: number, page: bigint): bigint;
}

export interface Level {
  /** Linux's name, as in `ArchDescriptor.levels`. */
  readonly name: string;
  /** The manual's name for a table of this level. */
  readonly title: string;
  /** Lowest bit of the address that indexes it, and how many bits do. */
  readonly shift: number;
  readonly bits: number;
  /** Size and alignment of a table. */
  readonly bytes: number;
  readonly align: number;
  readonly cite: Citation;
}

/** What people and protocols rely on, each with the place where it stands. */
export interface Rules {
  /** How entries are read and written. */
  readonly access: readonly Fact[];
  /** What hardware writes by itself. */
  readonly hardware: readonly Fact[];
  /** How invalidation reaches other processors and what its sender waits for. */
  readonly flush: readonly Fact[];
  /** What keeps a table alive while somebody walks it without a lock. */
  readonly walkers: readonly Fact[];
  /** Sizes of tables, fragments, caches. */
  readonly tables: readonly Fact[];
  /** Which wait covers which reader, where Linux frees such tables by mmu_gather. */
  readonly waits: readonly Wait[];
}

/** Linux's names of levels that are not folded, leaf tables first. */
export function levelNames(count: number): readonly string[] {
  return [...['pte', 'pmd', 'pud', 'p4d'].slice(0, count - 1), 'pgd'];
}

/** One whole word each time: every architecture with 64-bit registers. */
export const ONE_WORD: EntryAccess = { load: ['whole'], set: ['whole'], clear: ['whole'] };

type Touch = (entry: Decoded, bits: bigint, write: boolean) => bigint | null;

type Given = Omit<
  TableKind,
  'decode' | 'readings' | 'none' | 'link' | 'map' | 'remember' | 'hardware'
> & {
  readonly hardware: Omit<HardwareWrites, 'touch'>;
  /** What hardware writes on an access, if it is not setting the accessed and dirty bits. */
  readonly touch?: Touch;
  /** The values of the fields of tables and pages that the kernel makes, besides the address. */
  readonly links: Values | ((level: number) => Values);
  readonly maps: (level: number, permissions: LeafPermissions) => Values;
  /** The values of the fields of an empty entry that the kernel makes. */
  readonly nones?: Values;
};

/** The type of swap entries that stand for a page on the move: SWP_MIGRATION_WRITE, with every option on. */
const MIGRATION = 26n;

export function tableKind({
  links,
  maps,
  nones = {},
  touch = touchByBits,
  ...given
}: Given): TableKind {
  const { formats, levels, pageShift } = given;
  const decoder = new Decoder(formats, levels.length, pageShift);
  const decode = (level: number, bits: bigint): Decoded => decoder.decode(level, bits);
  const only = (kind: EntryFormat['kind'], level: number, name?: string): EntryFormat => {
    const found = formats.find(
      (it) =>
        it.kind === kind &&
        it.only === undefined &&
        it.levels.includes(level) &&
        (name === undefined || it.name === name),
    );
    if (found) return found;
    throw new GracewalkError('E801', `${given.name} has no ${kind} entry at level ${level}`, {
      help: `gracewalk explain ${given.name} lists levels and entries`,
    });
  };
  const make = (it: EntryFormat, address: bigint, values: Values): bigint =>
    encode(it, { ...values, ...addressValues(it, address) });
  const made: TableKind = {
    ...given,
    hardware: {
      ...given.hardware,
      touch: (level, bits, { write }) => touch(decode(level, bits), bits, write),
    },
    decode,
    readings: (level, bits) => decoder.readings(level, bits),
    none: (level) => encode(only('none', level), nones),
    link: (level, address) =>
      make(only('table', level), address, typeof links === 'function' ? links(level) : links),
    map: (level, address, permissions) =>
      make(only('leaf', level), address, maps(level, permissions)),
    remember: (level, page) =>
      encode(only('absent', level, 'swap entry'), { offset: page, type: MIGRATION }),
  };
  return Object.freeze(made);
}

/** Hardware that keeps accessed and dirty in a bit each, and needs the write permission for the second. */
function touchByBits(entry: Decoded, bits: bigint, write: boolean): bigint | null {
  if (!entry.present || (write && !entry.writable)) return null;
  let after = bits;
  for (const field of entry.format.fields) {
    if (!field.who.includes('HW')) continue;
    const sets = field.role === 'accessed' || (field.role === 'dirty' && write && !entry.table);
    if (sets) after |= 1n << BigInt(field.low);
  }
  return after;
}

/** Sets and clears the bits that say `writable` and `dirty`, where the format has a bit for each. */
function changeMarks(
  { format }: Decoded,
  bits: bigint,
  { writable, dirty, accessed }: LeafMarks,
): bigint {
  const marks = {
    write: writable,
    'no-write': writable === undefined ? undefined : !writable,
    dirty,
    accessed,
  };
  let after = bits;
  for (const { low, role } of format.fields) {
    const on =
      role === undefined ? undefined : (marks as Record<string, boolean | undefined>)[role];
    const bit = 1n << BigInt(low);
    if (on !== undefined) after = on ? after | bit : after & ~bit;
  }
  return after;
}

/** The descriptor of a machine whose processors walk these tables. */
export function machineOf(
  kind: TableKind,
  rest: Pick<ArchDescriptor, 'flush' | 'weaklyOrdered' | 'config' | 'impossible' | 'seconds'> &
    Partial<Pick<ArchDescriptor, 'name' | 'title'>>,
): ArchDescriptor {
  const { name, title, levels, pageShift, access, hardware } = kind;
  const known: Map<bigint, DecodedEntry>[] = levels.map(() => new Map());
  const addressOf = (frame: number): bigint => BigInt(frame) << BigInt(pageShift);
  // A leaf above the lowest level maps memory of that size: as a huge page, frame n is the n-th of them.
  const shiftOf = (level: number): number => levels[level]?.shift ?? pageShift;
  const descriptor: ArchDescriptor = {
    name,
    title,
    ...rest,
    levels,
    pageShift,
    access,
    hardware,
    decode: (level, bits) => {
      const seen = known[level] as Map<bigint, DecodedEntry>;
      let entry = seen.get(bits);
      if (!entry) {
        const { present, table, none, writable, dirty, accessed, frame } = kind.decode(level, bits);
        const isLeaf = present && !table;
        const number = isLeaf ? Math.floor(frame / 2 ** (shiftOf(level) - pageShift)) : frame;
        const means = { present, table: present && table, none, writable, frame: number };
        entry = Object.freeze({ ...means, dirty: dirty === true, accessed: accessed === true });
        seen.set(bits, entry);
      }
      return entry;
    },
    none: (level) => kind.none(level),
    table: (level, frame) => kind.link(level, addressOf(frame)),
    leaf: (level, frame, permissions) => {
      const bits = kind.map(level, BigInt(frame) << BigInt(shiftOf(level)), permissions);
      const { executable } = permissions;
      if (executable !== undefined && kind.decode(level, bits).executable !== executable) {
        throw new GracewalkError('E801', `the machine ${name} does not make such entries`, {
          notes: [`${executable ? '' : 'not '}executable was asked for`],
          help: 'x86 machines do; elsewhere leave `executable` out',
        });
      }
      return bits;
    },
    absent: (level, frame) => kind.remember(level, BigInt(frame)),
    change: (level, bits, marks) => changeMarks(kind.decode(level, bits), bits, marks),
  };
  return Object.freeze(descriptor);
}
