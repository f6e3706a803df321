import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE, add_word, try_cmpxchg } from '../../machine/ops/memory.ts';
import { flush_tlb_mm } from '../arch/flush.ts';
import type { Mm } from './types.ts';

/**
 * Flushes that reclaim puts off, and those who must not wait for them.
 *
 * Guarantee: who has called flush_tlb_batched_pending() with a page-table lock held may take the entries under
 * that lock at their word: an empty one is in no TLB any more.
 * Mechanism: `mm->tlb_flush_batched` counts what was put off (the lower half) and how much of that is known to
 * be flushed (the upper half). If they differ, everything is flushed, and the upper half becomes what the lower
 * was before the flush.
 * Why it suffices: the count goes up under the lock that the entry was cleared under. Why counts and not a flag:
 * somebody may clear another entry, under another lock, after the flush and before the flag is taken down, and
 * then nobody knows of it; a count that has changed meanwhile makes the compare-and-exchange fail (bug-bank's
 * rmap-batched-flag-lost).
 * What it is NOT: a wait for reclaim. That flushes too, later, and may find nothing left to do.
 *
 * Assumes: CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH, as on x86, arm64 and riscv; and that the lower half does
 * not overflow, for which the kernel has a rule of its own.
 *
 * Follows linux v6.12 mm/rmap.c (set_tlb_ubc_flush_pending, flush_tlb_batched_pending).
 */

const TLB_FLUSH_BATCH_FLUSHED_SHIFT = 16;
const TLB_FLUSH_BATCH_PENDING_MASK = 2 ** TLB_FLUSH_BATCH_FLUSHED_SHIFT - 1;

/** An entry was cleared whose flush is put off. Before the page-table lock is dropped. */
export const set_tlb_ubc_flush_pending = fn(function* set_tlb_ubc_flush_pending(
  mm: Mm,
): Steps<void> {
  yield* add_word(mm.tlb_flush_batched, 1);
});

/** Flushes what others have put off. With a page-table lock held, before its entries are looked at. */
export const flush_tlb_batched_pending = fn(
  function* flush_tlb_batched_pending(mm: Mm): Steps<void> {
    const batch = yield* READ_ONCE(mm.tlb_flush_batched);
    const pending = batch & TLB_FLUSH_BATCH_PENDING_MASK;
    const flushed = batch >>> TLB_FLUSH_BATCH_FLUSHED_SHIFT;
    if (pending === flushed) return;
    yield* arch_flush_tlb_batched_pending(mm);
    const settled = pending | (pending << TLB_FLUSH_BATCH_FLUSHED_SHIFT);
    yield* try_cmpxchg(mm.tlb_flush_batched, batch, settled); // not if more was put off meanwhile
  },
  { onBehalf: true },
);

/** What was put off may be of any address. */
export const arch_flush_tlb_batched_pending = fn(function* arch_flush_tlb_batched_pending(
  mm: Mm,
): Steps<void> {
  yield* flush_tlb_mm(mm);
});
