import { fn } from '../../machine/fn.ts';
import { holds } from '../../machine/protection.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE, WRITE_ONCE } from '../../machine/ops/memory.ts';
import { contents_discarded } from '../../machine/ops/pages.ts';
import { smp_mb, smp_rmb } from '../../machine/ops/store-buffer.ts';
import { flush_tlb_mm_range } from '../arch/flush.ts';
import { PAGE_MAPPING_ANON } from './filemap.ts';
import { folio_mapping } from './gup-folio.ts';
import { PAGE_SIZE } from './layout.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { folio_put, folio_ref_count } from './page-ref.ts';
import { ptep_get_and_clear, pte_page, set_pte_at } from './pgtable.ts';
import { pte_unmap_unlock, ptep_clear_flush } from './pgtable-generic.ts';
import { make_migration_entry } from './pgtable-set.ts';
import {
  folio_mapcount,
  folio_remove_rmap_pte,
  page_vma_mapped_walk,
  rmap_walk,
  type MappedPte,
  type RmapPlace,
} from './rmap.ts';
import { set_tlb_ubc_flush_pending } from './tlb-batched.ts';
import type { Mm } from './types.ts';

/**
 * Taking a page away from everybody who has it mapped, without their asking for it: reclaim and migration.
 *
 * Guarantee: when the walk is done no entry maps the page, and nobody who looked it up through one of them has
 * a reference of which the caller's next test does not know. Mechanism, with GUP-fast as the other side: the
 * entry is cleared (an exchange: a full barrier), and the references are looked at only after that. A walker
 * has its reference before it looks at the entry for the second time. So either the references show it, or
 * it sees the entry changed (I3).
 *
 * The flush may be deferred until the page is given back (TTU_BATCH_FLUSH); other CPUs may go on using the page
 * through their TLBs until then. `mm->tlb_flush_batched` tells those who must not be left with that (tlb-batched.ts).
 *
 * Follows linux v6.12 mm/rmap.c (try_to_unmap_one, try_to_migrate_one).
 */

/** An unmapping whose flush is still to come. */
export interface Deferred {
  readonly mm: Mm;
  readonly address: number;
}

/** try_to_unmap_flush(). */
export const try_to_unmap_flush = fn(function* try_to_unmap_flush(
  deferred: readonly Deferred[],
): Steps<void> {
  for (const { mm, address } of deferred) {
    yield* flush_tlb_mm_range(mm, address, address + PAGE_SIZE, false);
  }
});

/** Do only the isolation and the mappings hold the page, and is it clean? Asked after the entry was cleared. */
export const lazyfree_may_discard = fn(
  function* lazyfree_may_discard(mm: Mm, page: Page): Steps<boolean> {
    yield* smp_mb(); // the entry before the references, as in GUP-fast the other way round
    const ref_count = yield* folio_ref_count(mm.kernel, page);
    const map_count = yield* folio_mapcount(mm, page);
    yield* smp_rmb(); // the references before the dirty flag: who drops one may have set it first
    if (ref_count !== 1 + map_count) return false;
    return (yield* READ_ONCE(mm.kernel.folio(page).PG_dirty)) === 0;
  },
  { protects: { what: 'lazyfree_may_discard()', without: holds } },
);

/** What try_to_unmap_one() does with lazily freed memory; true if the page is gone from there. */
const try_to_discard = fn(function* try_to_discard(
  { mm }: RmapPlace,
  page: Page,
  { ptep, pte }: MappedPte,
): Steps<boolean> {
  if (yield* lazyfree_may_discard(mm, page)) {
    yield* contents_discarded(page);
    return true;
  }
  yield* set_pte_at(ptep, pte);
  yield* WRITE_ONCE(mm.kernel.folio(page).PG_swapbacked, 1); // worth keeping after all
  return false;
});

/** Unmaps the page at one place; true if it is not mapped there any more. */
export const try_to_unmap_one = fn(function* try_to_unmap_one(
  page: Page,
  place: RmapPlace,
  deferred: Deferred[],
): Steps<boolean> {
  const { mm, address } = place;
  const range = yield* invalidation_begins(mm, address, address + PAGE_SIZE);
  const gone = yield* try_to_unmap_found(page, place, deferred);
  yield* invalidation_ends(range);
  return gone;
});

/** What it does between the start and the end of the invalidation. */
const try_to_unmap_found = fn(
  function* try_to_unmap_found(page: Page, place: RmapPlace, deferred: Deferred[]): Steps<boolean> {
    const { mm, address } = place;
    const found = yield* page_vma_mapped_walk(page, place);
    if (!found) return true;
    yield* ptep_get_and_clear(found.ptep);
    deferred.push({ mm, address });
    yield* set_tlb_ubc_flush_pending(mm);
    const isAnon = ((yield* folio_mapping(mm, page)) & PAGE_MAPPING_ANON) !== 0;
    const gone = !isAnon || (yield* try_to_discard(place, page, found));
    if (gone) {
      yield* folio_remove_rmap_pte(mm, page);
      yield* folio_put(page);
    }
    yield* pte_unmap_unlock(found.ptl);
    return gone;
  },
  { hidden: true, onBehalf: true },
);

/** try_to_unmap() with TTU_BATCH_FLUSH; returns the flushes that are due. */
export const try_to_unmap = fn(function* try_to_unmap(mm: Mm, page: Page): Steps<Deferred[]> {
  const deferred: Deferred[] = [];
  yield* rmap_walk(mm, page, (place) => try_to_unmap_one(page, place, deferred));
  return deferred;
});

/** Replaces the entry of one place by a migration entry, which makes faults wait. */
export const try_to_migrate_one = fn(function* try_to_migrate_one(
  page: Page,
  place: RmapPlace,
): Steps<boolean> {
  const { mm, address } = place;
  const range = yield* invalidation_begins(mm, address, address + PAGE_SIZE);
  const found = yield* page_vma_mapped_walk(page, place);
  if (found) {
    const pte = yield* ptep_clear_flush(mm, address, found.ptep);
    yield* set_pte_at(found.ptep, make_migration_entry(mm, pte_page(pte)));
    yield* folio_remove_rmap_pte(mm, page);
    yield* folio_put(page);
    yield* pte_unmap_unlock(found.ptl);
  }
  yield* invalidation_ends(range);
  return true;
});

/** try_to_migrate(). */
export const try_to_migrate = fn(function* try_to_migrate(mm: Mm, page: Page): Steps<void> {
  yield* rmap_walk(mm, page, (place) => try_to_migrate_one(page, place));
});
