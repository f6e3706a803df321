import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, up_write } from '../../machine/ops/locks.ts';
import { free_pgtables, unmap_vmas } from './memory.ts';
import { tlb_finish_mmu, tlb_gather_mmu } from './mmu_gather.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import type { Mm } from './types.ts';

/**
 * munmap(2) of a range.
 *
 * Guarantee: when it returns, nothing in [addr, addr + len) is mapped and no CPU can reach what was mapped
 * through a stale translation. Mechanism: the order of mmu_gather.ts. Assumes: the VMA has no other user
 * once mmap_lock is held for writing.
 *
 * Follows linux v6.12 mm/vma.c (vms_clear_ptes, formerly unmap_region) and mm/mmap.c.
 */
export const munmap = fn(function* munmap(mm: Mm, addr: number, len: number): Steps<void> {
  yield* down_write(mm.mmap_lock);
  yield* unmap_region(mm, addr, addr + len);
  yield* up_write(mm.mmap_lock);
});

const unmap_region = fn(function* unmap_region(mm: Mm, start: number, end: number): Steps<void> {
  const tlb = yield* tlb_gather_mmu(mm);
  const range = yield* invalidation_begins(mm, start, end); // in unmap_vmas()
  yield* unmap_vmas(tlb, start, end);
  yield* invalidation_ends(range);
  yield* free_pgtables(tlb, start, end);
  yield* tlb_finish_mmu(tlb);
});
