import type { ArchDescriptor, Half } from './arch.ts';

/**
 * Halves of entries, for architectures that read and write them apart.
 *
 * A half remembers the value that it was stored as a part of. Put together with the other half it means that
 * value, if the bits are that value's; if they are those of neither value, the entry is *torn*: nobody ever
 * stored it. It then has no generation of its own and points to whatever its bits say, as that is by now.
 */
export const TORN = -1;

/** What was stored: 64 bits, and the generation of the frame they point to. */
export interface Stored {
  readonly bits: bigint;
  readonly generation: number;
}

/** One half of an entry as actors hold it. Interned, frozen. Equal halves have equal `bits`. */
export interface EntryHalf {
  readonly half: Half;
  /** 32 bits, unsigned. */
  readonly bits: number;
  /** The value that it is a half of. */
  readonly of: Stored;
}

export const LOW_MASK = 0xffffffffn;

export function lowBits({ bits }: Stored): number {
  return Number(bits & LOW_MASK);
}

export function highBits({ bits }: Stored): number {
  return Number(bits >> 32n);
}

/** The low half of one value and the high half of another. */
export function joined(low: Stored, high: Stored): Stored {
  if (low.bits === high.bits) return low;
  const bits = (high.bits & ~LOW_MASK) | (low.bits & LOW_MASK);
  if (bits === low.bits) return low;
  return bits === high.bits ? high : { bits, generation: TORN };
}

/** `value` with one half of it replaced: what an instruction on that half alone makes of it. */
export function withHalf({ bits, generation }: Stored, half: Half, value: number): Stored {
  const unsigned = BigInt(value >>> 0);
  return half === 'low'
    ? { bits: (bits & ~LOW_MASK) | unsigned, generation }
    : { bits: (unsigned << 32n) | (bits & LOW_MASK), generation };
}

/** Does the kernel read or write entries of this architecture by halves? */
export function isSplit({ access }: ArchDescriptor): boolean {
  return access.load[0] !== 'whole';
}
