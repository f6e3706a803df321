import { fn, leaf } from '../../machine/fn.ts';
import type { EntryPointer, Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, spin_lock, spin_unlock, up_write } from '../../machine/ops/locks.ts';
import { read_entry, write_entry } from '../../machine/ops/memory.ts';
import { free_frame } from '../../machine/ops/pages.ts';
import { sourceOf } from './layout.ts';
import {
  __tlb_remove_page,
  tlb_found_cleared,
  tlb_remove_tlb_entry,
  type MmuGather,
} from './mmu_gather-range.ts';
import { tlb_finish_mmu, tlb_gather_mmu } from './mmu_gather.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { NO_ENTRY, pointer_to } from './page-ref.ts';
import {
  offset_lockless,
  p4dp_get,
  pgd_offset,
  pgdp_get,
  pmd_leaf,
  pmdp_get,
  pte_page,
} from './pgtable.ts';
import { pmdp_huge_get_and_clear } from './pgtable-set.ts';
import { pmd_lockptr } from './pgtable-generic.ts';
import type { Mm } from './types.ts';

/**
 * Entries that map huge pages, and the table that waits behind such an entry for its split.
 *
 * Guarantee: the entry of a huge page is changed only with the lock of its own table held. The deposited
 * table is linked nowhere: whoever zaps the huge page frees it at once, without waiting for anybody.
 * Why that suffices: a table is deposited only after all walkers that could have been in it are gone, which
 * is khugepaged's business (mm/khugepaged.ts).
 *
 * Follows linux v6.12 mm/huge_memory.c (zap_huge_pmd, zap_deposited_table) and mm/pgtable-generic.c
 * (pgtable_trans_huge_deposit), without split PMD locks: one table per address space.
 */

/** pgtable_trans_huge_deposit(): keeps a table for the day when the huge page is split. */
export const pgtable_trans_huge_deposit = leaf(function* pgtable_trans_huge_deposit(
  mm: Mm,
  pgtable: Page,
): Steps<void> {
  yield* write_entry(mm.pmd_huge_pte, pointer_to(pgtable));
});

const pgtable_trans_huge_withdraw = leaf(function* pgtable_trans_huge_withdraw(
  mm: Mm,
): Steps<Page | null> {
  const { bits, generation } = yield* read_entry(mm.pmd_huge_pte);
  return bits === 0n ? null : Object.freeze({ frame: Number(bits), generation });
});

const clear_deposit = leaf(function* clear_deposit(mm: Mm): Steps<void> {
  yield* write_entry(mm.pmd_huge_pte, NO_ENTRY);
});

/** pte_free(): gives a page table back at once. */
export const pte_free = leaf(function* pte_free(table: Page): Steps<void> {
  yield* free_frame(table);
});

/** zap_deposited_table(). */
export const zap_deposited_table = fn(function* zap_deposited_table(mm: Mm): Steps<void> {
  const pgtable = yield* pgtable_trans_huge_withdraw(mm);
  if (!pgtable) return;
  yield* clear_deposit(mm);
  yield* pte_free(pgtable);
});

/** Unmaps a huge page. Whether there is one at `place` is asked again with the lock held. */
const zap_leaf = fn(
  function* zap_leaf(tlb: MmuGather, place: EntryPointer, addr: number, level: 1 | 2): Steps<void> {
    const { mm } = tlb;
    const ptl = pmd_lockptr(mm, place);
    yield* spin_lock(ptl);
    if (pmd_leaf(yield* pmdp_get(place))) {
      const entry = yield* pmdp_huge_get_and_clear(place);
      const size = 2 ** (mm.kernel.arch.levels[level]?.shift ?? 0);
      const promised = { source: sourceOf(place), bits: entry.bits };
      tlb_remove_tlb_entry(tlb, promised, Math.floor(addr / size) * size, size, level);
      if (level === 1) yield* zap_deposited_table(mm);
      __tlb_remove_page(tlb, pte_page(entry), false);
    } else {
      yield* tlb_found_cleared(tlb, sourceOf(place));
    }
    yield* spin_unlock(ptl);
  },
  { hidden: true },
);

/** Unmaps the huge page that a PMD entry maps, and frees the table in reserve for it. */
export const zap_huge_pmd = fn(function* zap_huge_pmd(
  tlb: MmuGather,
  pmdp: EntryPointer,
  addr: number,
): Steps<void> {
  yield* zap_leaf(tlb, pmdp, addr, 1);
});

/** Unmaps the huge page that a PUD entry maps. There is no table in reserve. */
export const zap_huge_pud = fn(function* zap_huge_pud(
  tlb: MmuGather,
  pudp: EntryPointer,
  addr: number,
): Steps<void> {
  yield* zap_leaf(tlb, pudp, addr, 2);
});

/** Unmaps the huge page that the PUD entry for `addr` maps (hugetlbfs, DAX). */
export const unmap_huge_pud = fn(function* unmap_huge_pud(mm: Mm, addr: number): Steps<void> {
  yield* down_write(mm.mmap_lock);
  const tlb = yield* tlb_gather_mmu(mm);
  const pgdp = pgd_offset(mm, addr);
  const pgd = yield* pgdp_get(pgdp);
  const p4d = yield* p4dp_get(offset_lockless(mm, pgd, 3, addr));
  const pudp = offset_lockless(mm, p4d, 2, addr);
  const size = 2 ** (mm.kernel.arch.levels[2]?.shift ?? 0);
  const start = Math.floor(addr / size) * size;
  const range = yield* invalidation_begins(mm, start, start + size); // in unmap_vmas()
  yield* zap_huge_pud(tlb, 'bits' in pudp ? pgdp : pudp, addr);
  yield* invalidation_ends(range);
  yield* tlb_finish_mmu(tlb);
  yield* up_write(mm.mmap_lock);
});
