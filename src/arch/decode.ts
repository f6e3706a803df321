import { addressOf, mask, type EntryFormat, type Field, type Permission } from './entry-format.ts';

/**
 * Decoding by masks that are computed once from the field lists. Page-table images have millions of entries,
 * and 64-bit integers are slow here, so the tests work on the two 32-bit halves.
 */

/** What an entry means to hardware, and to the kernel where hardware does not look. */
export interface Decoded {
  readonly format: EntryFormat;
  /** Hardware translates by it: it is a leaf or a table, and nothing in it is refused. */
  readonly present: boolean;
  readonly table: boolean;
  /** The kernel's pXd_none(): nothing is mapped and nothing is remembered. */
  readonly none: boolean;
  /** Physical address of the page or the next table; 0 where there is none. */
  readonly address: bigint;
  /** The address in pages of the table's base size: what the machine calls a frame. */
  readonly frame: number;
  /** What a leaf allows, or a table lets what is below it allow: permissions of a walk are ANDed. */
  readonly readable: boolean;
  readonly writable: boolean;
  /** By somebody: user or kernel. */
  readonly executable: boolean;
  readonly user: boolean;
  /** Null where the format has no such bit. */
  readonly accessed: boolean | null;
  readonly dirty: boolean | null;
  /** Why the hardware faults on it: reserved bits, or a combination it does not know. */
  readonly fault: string | null;
  /** The entries of the next table that exist, if not all: first, and one past the last. */
  readonly window: readonly [number, number] | null;
  /** log2 of the size of a leaf, if it is larger than its level says (one of a run of equal entries). */
  readonly leafShift: number | null;
}

interface Halves {
  readonly low: number;
  readonly high: number;
}

const LOW = 0xffffffffn;

function halves(value: bigint): Halves {
  return { low: Number(value & LOW) | 0, high: Number(value >> 32n) | 0 };
}

function any(m: Halves, low: number, high: number): boolean {
  return ((low & m.low) | (high & m.high)) !== 0;
}

function all(m: Halves, low: number, high: number): boolean {
  return (low & m.low) === m.low && (high & m.high) === m.high;
}

function masks(fields: readonly Field[]): bigint {
  return fields.reduce((sum, field) => sum | mask(field), 0n);
}

type Test = (low: number, high: number) => boolean;

/** Granted if a granting bit is set (or there is none), and not all denying bits are. */
function permission(it: EntryFormat, name: Permission): Test {
  const grant = masks(it.fields.filter(({ role }) => role === name));
  const deny = masks(it.fields.filter(({ role }) => role === `no-${name}`));
  const [g, d] = [halves(grant), halves(deny)];
  if (grant === 0n && deny === 0n) return () => true;
  if (deny === 0n) return (low, high) => any(g, low, high);
  if (grant === 0n) return (low, high) => !all(d, low, high);
  return (low, high) => any(g, low, high) && !all(d, low, high);
}

function mark(
  it: EntryFormat,
  name: 'accessed' | 'dirty',
): ((l: number, h: number) => boolean) | null {
  const bitsOf = masks(it.fields.filter(({ role }) => role === name));
  if (bitsOf === 0n) return null;
  const m = halves(bitsOf);
  return (low, high) => any(m, low, high);
}

/** One format, ready to test values against. */
export interface Compiled {
  readonly format: EntryFormat;
  readonly is: (bits: bigint) => boolean;
  readonly decode: (bits: bigint) => Decoded;
  /** The same with the halves already at hand. */
  readonly isHalves: (bits: bigint, low: number, high: number) => boolean;
  readonly decodeHalves: (bits: bigint, low: number, high: number) => Decoded;
}

export function compile(it: EntryFormat, pageShift: number): Compiled {
  const constant = it.fields.filter(({ is }) => is !== undefined);
  const where = halves(masks(constant));
  const what = halves(
    constant.reduce((sum, { is = 0, low }) => sum | (BigInt(is) << BigInt(low)), 0n),
  );
  const reserved = masks(it.fields.filter(({ role }) => role === 'reserved'));
  const reservedHalves = halves(reserved);
  const [readable, writable] = [permission(it, 'read'), permission(it, 'write')];
  const [executable, user] = [permission(it, 'execute'), permission(it, 'user')];
  const [accessed, dirty] = [mark(it, 'accessed'), mark(it, 'dirty')];
  const mapped = it.kind === 'leaf' || it.kind === 'table';
  const shift = BigInt(pageShift);
  const address = addresses(it);

  const faultOf = (bits: bigint, low: number, high: number): string | null => {
    if (mapped && any(reservedHalves, low, high)) return reservedText(bits & reserved);
    return it.refused?.(bits) ?? null;
  };

  const isHalves = (bits: bigint, low: number, high: number): boolean =>
    (low & where.low) === what.low &&
    (high & where.high) === what.high &&
    (it.matches?.(bits) ?? true);

  const decodeHalves = (bits: bigint, low: number, high: number): Decoded => {
    const at = address(bits);
    const fault = faultOf(bits, low, high);
    return {
      format: it,
      present: mapped && fault === null,
      table: it.kind === 'table',
      none: it.kind === 'none',
      address: at,
      frame: Number(at >> shift),
      readable: readable(low, high),
      writable: writable(low, high),
      executable: executable(low, high),
      user: user(low, high),
      accessed: accessed?.(low, high) ?? null,
      dirty: dirty?.(low, high) ?? null,
      fault,
      window: null,
      leafShift: null,
      ...it.derived?.(bits),
    };
  };

  return {
    format: it,
    is: (bits) => isHalves(bits, halves(bits).low, halves(bits).high),
    decode: (bits) => decodeHalves(bits, halves(bits).low, halves(bits).high),
    isHalves,
    decodeHalves,
  };
}

/** The usual case, an address stored in place, is one operation. */
function addresses(it: EntryFormat): (bits: bigint) => bigint {
  const parts = it.fields.filter(({ address }) => address !== undefined);
  const inPlace = parts.every(({ address, low, inverted }) => address === low && !inverted);
  if (parts.length === 0) return () => 0n;
  const where = masks(parts);
  return inPlace ? (bits) => bits & where : (bits) => addressOf(it, bits);
}

function reservedText(bits: bigint): string {
  const text = setBits(bits);
  return /\D/.test(text) ? `reserved bits ${text} are set` : `reserved bit ${text} is set`;
}

/** `63, 51..40`. */
export function setBits(bits: bigint): string {
  const ranges: string[] = [];
  for (let at = 63; at >= 0; at--) {
    if (((bits >> BigInt(at)) & 1n) === 0n) continue;
    const high = at;
    while (at > 0 && ((bits >> BigInt(at - 1)) & 1n) === 1n) at--;
    ranges.push(high === at ? String(at) : `${high}..${at}`);
  }
  return ranges.join(', ');
}

/** Tests values against the formats of a level, in their order. */
export class Decoder {
  private readonly levels: readonly (readonly Compiled[])[];

  constructor(formats: readonly EntryFormat[], levels: number, pageShift: number) {
    const compiled = formats.map((it) => compile(it, pageShift));
    this.levels = Array.from({ length: levels }, (_, level) =>
      compiled.filter(({ format }) => format.levels.includes(level)),
    );
  }

  /** The first format that fits: the hardware's and the newest documented kernel's reading. */
  decode(level: number, bits: bigint): Decoded {
    const { low, high } = halves(bits);
    for (const it of this.levels[level] ?? []) {
      if (it.format.only === undefined && it.isHalves(bits, low, high)) {
        return it.decodeHalves(bits, low, high);
      }
    }
    throw new RangeError(`no format of level ${level} fits 0x${bits.toString(16)}`);
  }

  /** Every format that fits, the first as `decode` gives it. */
  readings(level: number, bits: bigint): Decoded[] {
    const others = (this.levels[level] ?? []).filter(
      ({ format, is }) => format.only !== undefined && is(bits),
    );
    return [this.decode(level, bits), ...others.map((it) => it.decode(bits))];
  }
}
