import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import type { Citation } from '../base/citation.ts';

/**
 * The format of a page-table entry is a list of bit fields. Decoding, encoding, the drawing of bits and
 * what `gracewalk decode` and `explain` print are views of that one list.
 */
export interface Field {
  /** As the manual or the kernel calls it; `0` for bits that must be zero, `-` for ignored bits. */
  readonly name: string;
  readonly high: number;
  readonly low: number;
  readonly meaning: string;
  /** Who writes it: software, hardware, both, or nobody. */
  readonly who: 'SW' | 'HW' | 'SW/HW' | '-';
  /** What the bits are for, where the machine or a table walk has to know. */
  readonly role?: Role;
  /** The field always has this value: what tells the format from others. */
  readonly is?: number;
  /** Part of the physical address: the field's lowest bit is this bit of the address. */
  readonly address?: number;
  /** Stored with every bit inverted. */
  readonly inverted?: boolean;
  /** Names of values. */
  readonly values?: Readonly<Record<number, string>>;
  /** Where it stands, if not where the format does. */
  readonly cite?: Citation;
}

/**
 * `reserved` bits must be zero or the hardware faults; `ignored` bits may be anything. A permission is given
 * if a field that grants it has a bit set (or none grants it), and taken if all bits that deny it are set.
 */
export type Role =
  'reserved' | 'ignored' | 'accessed' | 'dirty' | Permission | `no-${Permission}` | 'software';

export type Permission = 'read' | 'write' | 'execute' | 'user';

/** What an entry is: for hardware a leaf, a table or absent; an absent one may say something to software. */
export type EntryKind = 'none' | 'absent' | 'table' | 'leaf';

export interface EntryFormat {
  /** `4 KiB page`, `table`, `swap entry`. */
  readonly name: string;
  readonly kind: EntryKind;
  /** Levels at which it occurs. */
  readonly levels: readonly number[];
  /** From bit 63 down to bit 0, without gap or overlap. */
  readonly fields: readonly Field[];
  readonly cite: Citation;
  /** Only in these kernels: another reading of the same bits. */
  readonly only?: string;
  /** What a list of fields cannot say: which values are of this format, beyond its constant fields. */
  readonly matches?: (bits: bigint) => boolean;
  /** Why the hardware refuses the value although no reserved bit is set. */
  readonly refused?: (bits: bigint) => string | null;
  /** Permissions and dirtiness that are no matter of single bits. */
  readonly derived?: (bits: bigint) => Derived;
}

export interface Derived {
  readonly readable?: boolean;
  readonly writable?: boolean;
  readonly executable?: boolean;
  readonly user?: boolean;
  readonly dirty?: boolean;
  /** The entries of the next table that exist, if not all: first, and one past the last. */
  readonly window?: readonly [number, number];
  /** log2 of the size of a leaf that is not its level's. */
  readonly leafShift?: number;
}

type Extra = Partial<
  Pick<Field, 'who' | 'role' | 'is' | 'address' | 'inverted' | 'values' | 'cite'>
>;

/** One bit. Written by software unless `extra` says otherwise. */
export function bit(name: string, at: number, meaning: string, extra: Extra = {}): Field {
  return bits(name, at, at, meaning, extra);
}

/** Bits `high` to `low`. */
export function bits(
  name: string,
  high: number,
  low: number,
  meaning: string,
  extra: Extra = {},
): Field {
  return Object.freeze({ name, high, low, meaning, who: 'SW', ...extra });
}

/** Bits that must be zero where the hardware looks at them. */
export function zero(high: number, low: number = high): Field {
  return bits('0', high, low, 'reserved, must be 0', { who: '-', role: 'reserved' });
}

/** Bits that nobody looks at. */
export function ignored(high: number, low: number = high): Field {
  return bits('-', high, low, 'ignored', { who: '-', role: 'ignored' });
}

/** A format, its fields put in order, and ignored or reserved neighbours made one. */
export function format(it: EntryFormat): EntryFormat {
  const fields: Field[] = [];
  for (const field of [...it.fields].sort((a, b) => b.high - a.high)) {
    const before = fields.at(-1);
    if (before && isFiller(field) && before.role === field.role && before.low === field.high + 1) {
      fields[fields.length - 1] = { ...before, low: field.low };
    } else {
      fields.push(field);
    }
  }
  return Object.freeze({ ...it, fields });
}

function isFiller({ role }: Field): boolean {
  return role === 'ignored' || role === 'reserved';
}

/**
 * `fields` with those replaced that share a bit with one of `changes`. Of ignored and reserved ranges only
 * the shared bits are.
 */
export function changed(fields: readonly Field[], ...changes: readonly Field[]): Field[] {
  let kept = [...fields];
  for (const { high, low } of changes) {
    kept = kept.flatMap((field) => {
      if (field.low > high || low > field.high) return [field];
      if (!isFiller(field)) return [];
      const above = field.high > high ? [{ ...field, low: high + 1 }] : [];
      const below = field.low < low ? [{ ...field, high: low - 1 }] : [];
      return [...above, ...below];
    });
  }
  return [...kept, ...changes];
}

export function width({ high, low }: Field): bigint {
  return BigInt(high - low + 1);
}

export function mask(field: Field): bigint {
  return ((1n << width(field)) - 1n) << BigInt(field.low);
}

/** The value of one field. */
export function valueOf(field: Field, entry: bigint): bigint {
  const stored = field.inverted ? entry ^ mask(field) : entry;
  return (stored & mask(field)) >> BigInt(field.low);
}

/** Fields that carry information: neither constant nor reserved nor ignored. */
export function variable(it: EntryFormat): Field[] {
  return it.fields.filter(
    ({ is, role }) => is === undefined && role !== 'reserved' && role !== 'ignored',
  );
}

/** Values by field name; a name that occurs twice (parts of an address) has its low bit after it. */
export type Values = Readonly<Record<string, bigint>>;

export function keyOf(it: EntryFormat, field: Field): string {
  const alone = it.fields.filter(({ name }) => name === field.name).length === 1;
  return alone ? field.name : `${field.name}@${field.low}`;
}

export function read(it: EntryFormat, entry: bigint): Values {
  return Object.fromEntries(variable(it).map((f) => [keyOf(it, f), valueOf(f, entry)]));
}

/** The entry with these values; fields not named are 0. Refuses what the format cannot hold. */
export function encode(it: EntryFormat, values: Values): bigint {
  const fields = variable(it);
  for (const name of Object.keys(values)) {
    if (!fields.some((f) => keyOf(it, f) === name)) throw noSuchField(it, name);
  }
  let entry = 0n;
  for (const field of it.fields) {
    const value = field.is === undefined ? (values[keyOf(it, field)] ?? 0n) : BigInt(field.is);
    if (value < 0n || value >= 1n << width(field)) throw tooBig(it, field, value);
    const stored = value << BigInt(field.low);
    entry |= field.inverted ? stored ^ mask(field) : stored;
  }
  if (it.matches?.(entry) === false) {
    throw new GracewalkError('E801', `no ${it.name} has these values`, {
      notes: [`they would make 0x${entry.toString(16)}, which means something else`],
      help: `gracewalk explain shows what distinguishes a ${it.name}`,
    });
  }
  return entry;
}

function noSuchField(it: EntryFormat, name: string): GracewalkError {
  const names = variable(it).map((f) => keyOf(it, f));
  const near = suggest(name, names);
  return new GracewalkError('E801', `a ${it.name} has no field '${name}'`, {
    notes: [`it has ${names.join(', ')}`],
    ...(near === null ? {} : { help: `did you mean ${near}?` }),
  });
}

function tooBig(it: EntryFormat, field: Field, value: bigint): GracewalkError {
  const bitsOf = width(field);
  return new GracewalkError('E801', `${value} does not fit ${field.name} of a ${it.name}`, {
    notes: [`it has ${bitsOf} bit${bitsOf === 1n ? '' : 's'}, ${field.high}:${field.low}`],
    help: `give a value from 0 to ${(1n << bitsOf) - 1n}`,
  });
}

/** The physical address that an entry of this format holds. */
export function addressOf(it: EntryFormat, entry: bigint): bigint {
  let address = 0n;
  for (const field of it.fields) {
    if (field.address === undefined) continue;
    address |= valueOf(field, entry) << BigInt(field.address);
  }
  return address;
}

/** The values of the address fields for `address`. Refuses one that is too long or not aligned. */
export function addressValues(it: EntryFormat, address: bigint): Values {
  const parts = it.fields.filter((field) => field.address !== undefined);
  const values: Record<string, bigint> = {};
  let rest = address;
  for (const field of parts) {
    const at = BigInt(field.address ?? 0);
    const value = (address >> at) & ((1n << width(field)) - 1n);
    values[keyOf(it, field)] = value;
    rest -= value << at;
  }
  if (rest === 0n) return values;
  const lowest = Math.min(...parts.map((field) => field.address ?? 0));
  const highest = Math.max(...parts.map((f) => (f.address ?? 0) + Number(width(f)) - 1));
  throw new GracewalkError(
    'E801',
    `a ${it.name} cannot hold the address 0x${address.toString(16)}`,
    {
      notes: [`it has room for bits ${highest}:${lowest} of an address; the others must be 0`],
      help: `use an address aligned to 0x${(1n << BigInt(lowest)).toString(16)} and below 0x${(1n << BigInt(highest + 1)).toString(16)}`,
    },
  );
}
