import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { broadcast_complete, broadcast_issue } from '../../../machine/ops/tlb.ts';
import type { Mm } from '../../mm/types.ts';

/**
 * tlbie.
 *
 * Guarantee: that of arch/flush.ts. Mechanism: tlbie tells every CPU, and the last ptesync of `eieio; tlbsync;
 * ptesync` waits until all have done it. What it drops is a field of the instruction: translations (RIC 0),
 * the page walk cache (RIC 1), or both (RIC 2); the walk cache only as a whole, for all of a process.
 * Why two forms suffice: entries of leaf tables are in no walk cache, so unmapping pages leaves it alone;
 * a table that is freed must be dropped from it.
 *
 * Follows linux v6.12 arch/powerpc/mm/book3s64/radix_tlb.c.
 */
const RIC_FLUSH_TLB = 0;
const RIC_FLUSH_PWC = 1;

const __tlbie_pid = leaf(function* __tlbie_pid(mm: Mm, _ric: number): Steps<void> {
  yield* broadcast_issue(mm.pgd, null, null, true);
});

const __tlbie_va_range = leaf(function* __tlbie_va_range(
  mm: Mm,
  start: number,
  end: number,
  _ric: number,
): Steps<void> {
  yield* broadcast_issue(mm.pgd, start, end, false);
});

/** Until here other CPUs may go on using what was told to go. */
const eieio_tlbsync_ptesync = leaf(
  function* eieio_tlbsync_ptesync(
    mm: Mm,
    start: number,
    end: number,
    also_pwc: boolean,
  ): Steps<void> {
    yield* broadcast_complete(mm.pgd, start, end, also_pwc);
  },
  { protects: { what: 'eieio_tlbsync_ptesync()' } },
);

const _tlbie_va_range = fn(function* _tlbie_va_range(
  mm: Mm,
  start: number,
  end: number,
  also_pwc: boolean,
): Steps<void> {
  if (also_pwc) yield* __tlbie_pid(mm, RIC_FLUSH_PWC);
  yield* __tlbie_va_range(mm, start, end, RIC_FLUSH_TLB);
  yield* eieio_tlbsync_ptesync(mm, start, end, also_pwc);
});

/** Pages were unmapped, and no table. */
export const radix__flush_tlb_range_psize = fn(function* radix__flush_tlb_range_psize(
  mm: Mm,
  start: number,
  end: number,
): Steps<void> {
  yield* _tlbie_va_range(mm, start, end, false);
});

/** Tables were unhooked, too. */
export const radix__flush_tlb_pwc_range_psize = fn(function* radix__flush_tlb_pwc_range_psize(
  mm: Mm,
  start: number,
  end: number,
): Steps<void> {
  yield* _tlbie_va_range(mm, start, end, true);
});

export const radix__tlb_flush = fn(function* radix__tlb_flush(
  mm: Mm,
  start: number,
  end: number,
  freed_tables: boolean,
): Steps<void> {
  if (freed_tables) yield* radix__flush_tlb_pwc_range_psize(mm, start, end);
  else yield* radix__flush_tlb_range_psize(mm, start, end);
});
