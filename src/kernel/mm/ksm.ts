import { fn } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_read, up_read } from '../../machine/ops/locks.ts';
import { folio_try_share_anon_rmap_pte } from './anon-share.ts';
import { vmf_pte_same } from './fault.ts';
import { PAGE_SIZE } from './layout.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { folio_put, folio_ref_inc, memcpy_from_page } from './page-ref.ts';
import { pte_offset_map_lock, pte_unmap_unlock, ptep_clear_flush } from './pgtable-generic.ts';
import { pte_of, pte_page, pte_wrprotect, set_pte_at } from './pgtable.ts';
import { folio_add_rmap_pte, folio_remove_rmap_pte, mm_find_pmd } from './rmap.ts';
import type { Mm, Pmdp, Pte, Ptep } from './types.ts';

/**
 * KSM: pages that say the same become one.
 *
 * Guarantee: the page that is given up says what the one that takes its place says, and nobody stores to it any
 * more. Mechanism: first the entry is made read-only and flushed, then the pages are compared, then the entry is
 * replaced if it is still what it was. Pins are the business of anon-share.ts; secondary MMUs have the page taken
 * away in both steps, and get it again read-only, or they get the other one.
 * Why two invalidations: between them a secondary MMU may map the page again, for reading.
 *
 * Assumes: the stable page (`kpage`) is read-only wherever it is mapped. KSM compares reference and mapping counts
 * as well, to keep direct I/O out; that is left out, because pins must be safe without it (swapping out relies
 * on this sequence alone).
 *
 * Follows linux v6.12 mm/ksm.c (try_to_merge_one_page, write_protect_page, replace_page).
 */

/** How write_protect_page() takes the entry out of the way. */
export const take_pte = fn(
  function* take_pte(mm: Mm, addr: number, ptep: Ptep): Steps<Pte> {
    return yield* ptep_clear_flush(mm, addr, ptep);
  },
  { hidden: true },
);

/** Makes the entry read-only, and returns it; null: the page may be pinned. mmap_lock is held. */
const write_protect_pte = fn(
  function* write_protect_pte(mm: Mm, addr: number): Steps<Pte | null> {
    const range = yield* invalidation_begins(mm, addr, addr + PAGE_SIZE);
    const pmdp = yield* mm_find_pmd(mm, addr);
    const locked = pmdp ? yield* pte_offset_map_lock(mm, pmdp, addr) : null;
    let orig_pte: Pte | null = null;
    if (locked) {
      const pte = yield* take_pte(mm, addr, locked.ptep);
      const shared = yield* folio_try_share_anon_rmap_pte(mm, pte_page(pte));
      if (shared) orig_pte = pte_wrprotect(mm, pte);
      yield* set_pte_at(locked.ptep, orig_pte ?? pte);
      yield* pte_unmap_unlock(locked.ptl);
    }
    yield* invalidation_ends(range);
    return orig_pte;
  },
  { hidden: true, onBehalf: true },
);

/** write_protect_page(): makes the page one that may be merged with equal ones. */
export const write_protect_page = fn(function* write_protect_page(
  mm: Mm,
  addr: number,
): Steps<boolean> {
  yield* down_read(mm.mmap_lock);
  const orig_pte = yield* write_protect_pte(mm, addr);
  yield* up_read(mm.mmap_lock);
  return orig_pte !== null;
});

/**
 * Maps `kpage`, which says the same, in the place of the page that is mapped; not if the entry is another than
 * `orig_pte` by now. The entry is cleared and flushed before it says something else: nobody uses the old page
 * through a cached translation once the new one is there.
 */
export const replace_page = fn(function* replace_page(
  mm: Mm,
  pmdp: Pmdp,
  addr: number,
  kpage: Page,
  orig_pte: Pte | null = null,
): Steps<boolean> {
  const range = yield* invalidation_begins(mm, addr, addr + PAGE_SIZE);
  const page = yield* replace_pte(mm, pmdp, addr, kpage, orig_pte);
  yield* invalidation_ends(range);
  return page;
});

/** What it does between the start and the end of the invalidation. */
const replace_pte = fn(
  function* replace_pte(
    mm: Mm,
    pmdp: Pmdp,
    addr: number,
    kpage: Page,
    orig_pte: Pte | null,
  ): Steps<boolean> {
    const locked = yield* pte_offset_map_lock(mm, pmdp, addr);
    if (!locked) return false;
    const { ptep, ptl } = locked;
    if (orig_pte && !(yield* vmf_pte_same(ptep, orig_pte))) {
      yield* pte_unmap_unlock(ptl);
      return false;
    }
    yield* folio_ref_inc(kpage, null);
    yield* folio_add_rmap_pte(mm, kpage);
    const old = yield* ptep_clear_flush(mm, addr, ptep);
    yield* set_pte_at(ptep, pte_of(mm, kpage, { writable: orig_pte?.writable ?? true }));
    yield* folio_remove_rmap_pte(mm, pte_page(old));
    yield* folio_put(pte_page(old));
    yield* pte_unmap_unlock(ptl);
    return true;
  },
  { hidden: true, onBehalf: true },
);

/** pages_identical(); of a page, one word is modelled. */
const pages_identical = fn(function* pages_identical(page: Page, kpage: Page): Steps<boolean> {
  return (yield* memcpy_from_page(page, 0)) === (yield* memcpy_from_page(kpage, 0));
});

/** try_to_merge_one_page(): replaces the page at `addr` by `kpage`, if they say the same and nobody pins it. */
export const try_to_merge_one_page = fn(function* try_to_merge_one_page(
  mm: Mm,
  addr: number,
  kpage: Page,
): Steps<boolean> {
  yield* down_read(mm.mmap_lock);
  const pte = yield* write_protect_pte(mm, addr);
  const same = pte !== null && (yield* pages_identical(pte_page(pte), kpage));
  const pmdp = same ? yield* mm_find_pmd(mm, addr) : null;
  const merged = pmdp !== null && (yield* replace_page(mm, pmdp, addr, kpage, pte));
  yield* up_read(mm.mmap_lock);
  return merged;
});
