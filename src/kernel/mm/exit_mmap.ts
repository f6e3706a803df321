import { fn, leaf } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, up_write } from '../../machine/ops/locks.ts';
import { add_word } from '../../machine/ops/memory.ts';
import { mmdrop } from '../kernel/fork.ts';
import { free_pgtables, unmap_vmas } from './memory.ts';
import { tlb_finish_mmu, tlb_gather_mmu } from './mmu_gather.ts';
import { notifiers_of } from './mmu_notifier-boot.ts';
import {
  invalidation_begins,
  invalidation_ends,
  secondary_mmus_released,
} from './mmu_notifier-hooks.ts';
import type { Mm } from './types.ts';

/**
 * The end of an address space.
 *
 * Guarantee: when it returns, all pages are unmapped and none of them is reached through a secondary MMU.
 * Mechanism: secondary MMUs are told first, once and for all (release()): from then on nobody may bring a page
 * back to one, because nobody will be told again. Then everything is unmapped like any other range, and the files
 * that were mapped are let go.
 * Assumes: mm_users is 0, so nobody faults, and no new subscriber comes.
 *
 * Follows linux v6.12 mm/mmap.c (exit_mmap) and kernel/fork.c (mmput).
 */
export const exit_mmap = fn(function* exit_mmap(mm: Mm): Steps<void> {
  yield* secondary_mmus_released(mm);
  yield* down_write(mm.mmap_lock); // the kernel takes it for reading while it unmaps
  const tlb = yield* tlb_gather_mmu(mm);
  const range = yield* invalidation_begins(mm, 0, Number.MAX_SAFE_INTEGER); // in unmap_vmas()
  for (const { start, end } of mm.vmas) yield* unmap_vmas(tlb, start, end);
  yield* invalidation_ends(range);
  for (const { start, end } of mm.vmas) yield* free_pgtables(tlb, start, end);
  yield* tlb_finish_mmu(tlb);
  for (const { close } of mm.vmas) if (close) yield* close(); // remove_vma()
  yield* up_write(mm.mmap_lock);
});

/** mmget(): keeps the address space. */
export const mmget = leaf(function* mmget(mm: Mm): Steps<void> {
  yield* add_word(notifiers_of(mm).mm_users, 1);
});

const mm_users_dec_and_test = leaf(function* mm_users_dec_and_test(mm: Mm): Steps<boolean> {
  return (yield* add_word(notifiers_of(mm).mm_users, -1)) === 1;
});

/** mmput(): the last user takes the address space down, and drops their one hold on the mm_struct. */
export const mmput = fn(function* mmput(mm: Mm): Steps<void> {
  if (!(yield* mm_users_dec_and_test(mm))) return;
  yield* exit_mmap(mm);
  yield* mmdrop(mm);
});
