import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { down_read, up_read } from '../../machine/ops/locks.ts';
import { unmap_vmas } from './memory.ts';
import { tlb_finish_mmu, tlb_gather_mmu } from './mmu_gather.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import type { Mm } from './types.ts';

/**
 * The OOM reaper: takes a victim's memory away while it still runs.
 *
 * Guarantee: it waits for nobody who may be waiting for memory. Mechanism: secondary MMUs are asked not to sleep;
 * if one cannot do without, its VMA is left for the next attempt. Then nothing of it may be touched, and no
 * end is due.
 *
 * Follows linux v6.12 mm/oom_kill.c (__oom_reap_task_mm), which only tries to take mmap_lock.
 */

/** May the secondary MMUs sleep here? They may not: see above. */
export const BLOCKABLE = false;

/** True if everything was taken. */
export const __oom_reap_task_mm = fn(function* __oom_reap_task_mm(mm: Mm): Steps<boolean> {
  let all = true;
  yield* down_read(mm.mmap_lock);
  for (const vma of mm.vmas) if (!(yield* oom_reap_vma(mm, vma.start, vma.end))) all = false;
  yield* up_read(mm.mmap_lock);
  return all;
});

export const oom_reap_vma = fn(
  function* oom_reap_vma(mm: Mm, start: number, end: number): Steps<boolean> {
    const tlb = yield* tlb_gather_mmu(mm);
    const range = yield* invalidation_begins(mm, start, end, BLOCKABLE);
    if (range) {
      yield* unmap_vmas(tlb, start, end);
      yield* invalidation_ends(range);
    }
    yield* tlb_finish_mmu(tlb);
    return range !== null;
  },
  { hidden: true },
);
