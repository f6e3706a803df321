import { fn } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { PAGE_SIZE } from './layout.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { pte_unmap_unlock, ptep_clear_flush } from './pgtable-generic.ts';
import { pte_mkclean_wrprotect, set_pte_at } from './pgtable.ts';
import { folio_mapcount, page_vma_mapped_walk, rmap_walk, type RmapPlace } from './rmap.ts';
import type { Mm } from './types.ts';

/**
 * Making the mappings of a page clean.
 *
 * Guarantee: when folio_mkclean() returns, no CPU can store to the page without a fault, or without setting
 * the dirty mark of an entry; and whether an entry had the mark is known.
 * Mechanism: under its page-table lock, each entry is cleared and flushed, which tells whether it was dirty and
 * leaves no CPU a writable translation, and only then written again, read-only and clean.
 * Why it suffices: hardware marks only entries that are present, so the exchange that clears one has its last
 * word; a store through a cached translation needs no mark, so cleaning without the flush loses it (M8.4).
 * Secondary MMUs have the page taken away meanwhile: their stores mark nothing here, so the next one must fault.
 *
 * Follows linux v6.12 mm/rmap.c (folio_mkclean, page_vma_mkclean_one) and mm/pgtable-generic.c.
 */

/** Takes write permission and the dirty mark off one mapping. True: it had one of the two. */
export const page_vma_mkclean_one = fn(function* page_vma_mkclean_one(
  page: Page,
  place: RmapPlace,
): Steps<boolean> {
  const { mm, address } = place;
  const range = yield* invalidation_begins(mm, address, address + PAGE_SIZE);
  const cleaned = yield* mkclean_found(page, place);
  yield* invalidation_ends(range);
  return cleaned;
});

/** What it does between the start and the end of the invalidation. */
const mkclean_found = fn(
  function* mkclean_found(page: Page, place: RmapPlace): Steps<boolean> {
    const found = yield* page_vma_mapped_walk(page, place);
    if (!found) return false;
    const { ptep, ptl, pte } = found;
    const cleans = pte.dirty === true || pte.writable;
    if (cleans) {
      const old = yield* ptep_clear_flush(place.mm, place.address, ptep);
      yield* set_pte_at(ptep, pte_mkclean_wrprotect(place.mm, old));
    }
    yield* pte_unmap_unlock(ptl);
    return cleans;
  },
  { hidden: true, onBehalf: true },
);

/** Makes every mapping of the page clean and read-only. True: one of them was not. */
export const folio_mkclean = fn(function* folio_mkclean(mm: Mm, page: Page): Steps<boolean> {
  if ((yield* folio_mapcount(mm, page)) === 0) return false;
  let cleaned = false;
  yield* rmap_walk(mm, page, function* (place) {
    if (yield* page_vma_mkclean_one(page, place)) cleaned = true;
    return true;
  });
  return cleaned;
});
