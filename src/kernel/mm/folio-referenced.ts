import { fn, leaf } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { and_entry } from '../../machine/ops/memory.ts';
import { PAGE_SIZE } from './layout.ts';
import { used_through_secondary, aged_through_secondary } from './mmu_notifier-hooks.ts';
import { pte_unmap_unlock } from './pgtable-generic.ts';
import { page_vma_mapped_walk, rmap_walk, type RmapPlace } from './rmap.ts';
import type { Mm, Pte, Ptep } from './types.ts';

/**
 * Was a page used since somebody last asked?
 *
 * Guarantee: none: it is a guess about what is worth keeping. A use through a translation that has its mark
 * already leaves no new one, because x86 does not flush here.
 * Mechanism: the accessed mark of every entry that maps the page is taken away by one atomic AND; secondary
 * MMUs do the same with theirs, and flush (clear_flush_young). Under the page-table lock: nobody sleeps.
 * The aging of the multi-generational LRU asks them not to flush either (clear_young): a page that is used through
 * a translation they keep looks old, is reclaimed too early, and is faulted in again.
 *
 * Follows linux v6.12 mm/rmap.c (folio_referenced_one) and arch/x86/mm/pgtable.c; v6.13 mm/vmscan.c
 * (lru_gen_look_around), of one page.
 */

/** ptep_clear_flush_young() of x86. */
const ptep_test_and_clear_young = leaf(function* ptep_test_and_clear_young(
  mm: Mm,
  ptep: Ptep,
  pte: Pte,
): Steps<boolean> {
  const old = mm.kernel.arch.change(0, pte.bits, { accessed: false });
  return (yield* and_entry(ptep, ~(pte.bits ^ old))).bits !== old;
});

/** Takes the marks of one mapping: the process's own, and those of secondary MMUs. */
const folio_referenced_one = fn(function* folio_referenced_one(
  page: Page,
  place: RmapPlace,
  ask: typeof used_through_secondary,
): Steps<boolean> {
  const { mm, address } = place;
  const found = yield* page_vma_mapped_walk(page, place);
  if (!found) return false;
  const young =
    found.pte.accessed === true && (yield* ptep_test_and_clear_young(mm, found.ptep, found.pte));
  const secondary = yield* ask(mm, address, address + PAGE_SIZE);
  yield* pte_unmap_unlock(found.ptl);
  return young || secondary;
});

/** How many mappings were used. */
export const folio_referenced = fn(function* folio_referenced(mm: Mm, page: Page): Steps<number> {
  let referenced = 0;
  yield* rmap_walk(mm, page, function* (place) {
    if (yield* folio_referenced_one(page, place, used_through_secondary)) referenced++;
    return true;
  });
  return referenced;
});

/** lru_gen_look_around(), of the page alone: does it belong to the youngest generation? */
export const lru_gen_look_around = fn(function* lru_gen_look_around(
  mm: Mm,
  page: Page,
): Steps<boolean> {
  let young = false;
  yield* rmap_walk(mm, page, function* (place) {
    // ptep_clear_young_notify()
    if (yield* folio_referenced_one(page, place, aged_through_secondary)) young = true;
    return true;
  });
  return young;
});
