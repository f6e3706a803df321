import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { down_read, up_read } from '../../machine/ops/locks.ts';
import { unmap_vmas } from './memory.ts';
import { tlb_finish_mmu, tlb_gather_mmu } from './mmu_gather.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import type { Mm } from './types.ts';

/**
 * madvise(MADV_DONTNEED): forgets what a range maps; the mapping itself stays.
 *
 * Guarantee: when it returns, no CPU reaches what was mapped when it was called. mmap_lock is held for reading
 * only: faults, reclaim and another MADV_DONTNEED of the same range may be going on. Mechanism: mmu_gather.ts,
 * whose count of pending flushes is for exactly that. With PT_RECLAIM it frees empty tables as well, so the
 * lock of a table and its memory must outlive those who found it (pt_reclaim.ts).
 *
 * Follows linux v6.12 mm/madvise.c (madvise_dontneed_single_vma) and mm/memory.c (zap_page_range_single).
 */
export const madvise_dontneed = fn(function* madvise_dontneed(
  mm: Mm,
  start: number,
  len: number,
): Steps<void> {
  yield* down_read(mm.mmap_lock);
  yield* zap_page_range_single(mm, start, start + len);
  yield* up_read(mm.mmap_lock);
});

const zap_page_range_single = fn(function* zap_page_range_single(
  mm: Mm,
  start: number,
  end: number,
): Steps<void> {
  const tlb = yield* tlb_gather_mmu(mm);
  const range = yield* invalidation_begins(mm, start, end);
  yield* unmap_vmas(tlb, start, end, { reclaim_pt: mm.kernel.config.PT_RECLAIM });
  yield* invalidation_ends(range);
  yield* tlb_finish_mmu(tlb);
});
