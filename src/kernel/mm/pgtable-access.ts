import { this_arch } from '../../machine/fn.ts';
import { isSplit, joined, type EntryHalf } from '../../machine/halves.ts';
import type { Entry, EntryPointer } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { bounded } from '../../machine/ops/control.ts';
import { read_high, read_low, write_high, write_low, xchg_low } from '../../machine/ops/halves.ts';
import { read_entry, write_entry, xchg_entry } from '../../machine/ops/memory.ts';
import { smp_rmb, smp_wmb } from '../../machine/ops/store-buffer.ts';

/**
 * How an entry is loaded and stored: as one word, or by halves where a 64-bit entry does not fit a register.
 *
 * Guarantee, of the loads without a lock: if P is set in what is returned, its two halves belong together,
 * PROVIDED that no present entry becomes another one with the same low half in the meantime.
 * Mechanism: P is in the low half. Setting an entry stores the high half first, clearing it the low half
 * first, so while P is set in memory the high half is the one that belongs to it. A load reads low, high and
 * low again, and starts over if the low half has changed.
 * Why it suffices: if the low half was the same at both instants and nothing happened in between, the high
 * half read in between is its own. Why it does not, without the proviso: in between the entry can have been
 * cleared and set any number of times (M2.6, M2.7). With interrupts off on a CPU that the TLB flush must
 * interrupt, a change to another page does not get that far; a change of permissions flushes too late.
 * Who relies on a value therefore reads it again, or compares it under the lock.
 *
 * Follows linux v6.12 include/linux/pgtable.h (CONFIG_GUP_GET_PXX_LOW_HIGH) and
 * arch/x86/include/asm/pgtable-3level.h. Protocols ask the descriptor's `access`, not the architecture's name.
 */

/** CONFIG_GUP_GET_PXX_LOW_HIGH. */
export function is_split(): boolean {
  return isSplit(this_arch());
}

/** The entry of a table of `level` that two halves make. */
function assembled(level: number, low: EntryHalf, high: EntryHalf): Entry {
  const stored = joined(low.of, high.of);
  return Object.freeze({ ...stored, ...this_arch().decode(level, stored.bits) });
}

/** READ_ONCE(*ptep), or what a compiler makes of it on 32 bits: two loads, in this order or the other. */
export function* load_entry(ptep: EntryPointer, level: number): Steps<Entry> {
  if (!is_split()) return yield* read_entry(ptep);
  const low = yield* read_low(ptep);
  const high = yield* read_high(ptep);
  return assembled(level, low, high);
}

/** The other order: nothing tells a compiler which. */
export function* load_entry_high_first(ptep: EntryPointer, level: number): Steps<Entry> {
  const high = yield* read_high(ptep);
  const low = yield* read_low(ptep);
  return assembled(level, low, high);
}

/** More often than an entry is changed while anybody loads it. */
const ROUNDS = 6;

/** Low, high, and low again until it is the same. */
export function* load_entry_lockless(ptep: EntryPointer, level: number): Steps<Entry> {
  if (!is_split()) return yield* read_entry(ptep);
  for (const _ of bounded(ROUNDS)) {
    const low = yield* read_low(ptep);
    yield* smp_rmb();
    const high = yield* read_high(ptep);
    yield* smp_rmb();
    const again = yield* read_low(ptep);
    if (again.bits === low.bits) return assembled(level, low, high);
  }
  return NONE; // not reached: out of rounds, the actor stops there
}

/** The mistake of M2.4: the high half may be that of the entry before. */
export function* load_entry_high_low_low(ptep: EntryPointer, level: number): Steps<Entry> {
  const high = yield* read_high(ptep);
  for (const _ of bounded(ROUNDS)) {
    const low = yield* read_low(ptep);
    const again = yield* read_low(ptep);
    if (again.bits === low.bits) return assembled(level, low, high);
  }
  return NONE;
}

/** Stored as the bits that mean none in the table they are stored to. */
export const NONE: Entry = Object.freeze({
  bits: 0n,
  generation: 0,
  present: false,
  table: false,
  none: true,
  writable: false,
  frame: 0,
});

/** Sets an entry that is not present: P comes last. */
export function* set_entry(ptep: EntryPointer, entry: Entry): Steps<void> {
  if (!is_split()) {
    yield* write_entry(ptep, entry);
    return;
  }
  yield* write_high(ptep, entry);
  yield* smp_wmb();
  yield* write_low(ptep, entry);
}

/** Clears an entry whatever it was: P goes first. */
export function* clear_entry(ptep: EntryPointer): Steps<void> {
  if (!is_split()) {
    yield* write_entry(ptep, NONE);
    return;
  }
  yield* write_low(ptep, NONE);
  yield* smp_wmb();
  yield* write_high(ptep, NONE);
}

/** Stores an entry at once over whatever is there: on 32 bits a compare-and-exchange of both halves. */
export function* set_entry_atomic(ptep: EntryPointer, entry: Entry): Steps<void> {
  if (is_split()) yield* xchg_entry(ptep, entry);
  else yield* write_entry(ptep, entry);
}

/**
 * Replaces an entry and returns what it was, with every bit that hardware had set. One that is not present
 * does not have to appear at once: the exchange of the low half takes P away, and then the high half is
 * nobody's but ours.
 */
export function* establish_entry(ptep: EntryPointer, entry: Entry, level: number): Steps<Entry> {
  if (!is_split() || entry.present) return yield* xchg_entry(ptep, entry);
  const low = yield* xchg_low(ptep, entry);
  const high = yield* read_high(ptep);
  yield* write_high(ptep, entry);
  return assembled(level, low, high);
}
