import { fn } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_read, up_read } from '../../machine/ops/locks.ts';
import { allocate_frame } from '../../machine/ops/pages.ts';
import { flush_tlb_page } from '../arch/flush.ts';
import { vmf_pte_same } from './fault.ts';
import { PAGE_SIZE } from './layout.ts';
import { tlb_flush_range } from './mmu_gather-range.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { mm_tlb_flush_pending, tlb_finish_mmu, tlb_gather_mmu } from './mmu_gather.ts';
import { folio_put, memcpy_from_page, memcpy_to_page } from './page-ref.ts';
import { pte_offset_map_lock, pte_unmap_unlock, ptep_clear_flush } from './pgtable-generic.ts';
import {
  pte_of,
  pte_page,
  pte_wrprotect,
  ptep_get,
  ptep_get_and_clear,
  set_pte_at,
} from './pgtable.ts';
import { folio_add_rmap_pte, folio_remove_rmap_pte, mm_find_pmd } from './rmap.ts';
import { flush_tlb_batched_pending } from './tlb-batched.ts';
import type { Mm, Pte } from './types.ts';

/**
 * Copying a page on write, while somebody else takes write permission away.
 *
 * Guarantee: the copy says what the old page says at the moment at which it replaces it.
 * Mechanism: the page is copied while its entry is read-only, so nobody stores to it. An entry may have become
 * read-only a moment ago, with its flush still to come (userfaultfd write protection collects its changes under
 * mmap_lock for reading, as all of mprotect's code does); mm_tlb_flush_pending() tells, and then this side
 * flushes the page itself (M3.10).
 * Why the count is enough: it goes up before the page-table lock is taken and down after the flush, and the entry
 * is looked at under that lock.
 *
 * Assumes: an anonymous page that others share, so that it is copied and not reused.
 *
 * Follows linux v6.12 mm/memory.c (do_wp_page, wp_page_copy), mm/userfaultfd.c (mwriteprotect_range) and
 * mm/mprotect.c (change_pte_range).
 */

/** userfaultfd write protection of one page. */
export const mwriteprotect_range = fn(function* mwriteprotect_range(
  mm: Mm,
  addr: number,
): Steps<void> {
  yield* down_read(mm.mmap_lock);
  const tlb = yield* tlb_gather_mmu(mm);
  const range = yield* invalidation_begins(mm, addr, addr + PAGE_SIZE); // change_pmd_range()
  if (yield* change_pte_range(mm, addr)) tlb_flush_range(tlb, addr, addr + PAGE_SIZE, 0);
  yield* invalidation_ends(range);
  yield* tlb_finish_mmu(tlb);
  yield* up_read(mm.mmap_lock);
});

/** Takes write permission away. True: a flush must follow. */
export const change_pte_range = fn(function* change_pte_range(
  mm: Mm,
  addr: number,
): Steps<boolean> {
  const pmdp = yield* mm_find_pmd(mm, addr);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, addr));
  if (!locked) return false;
  yield* flush_tlb_batched_pending(mm);
  const { present, writable } = yield* ptep_get(locked.ptep);
  if (present) {
    const oldpte = yield* ptep_get_and_clear(locked.ptep); // ptep_modify_prot_start()
    yield* set_pte_at(locked.ptep, pte_wrprotect(mm, oldpte));
  }
  yield* pte_unmap_unlock(locked.ptl);
  return present && writable;
});

/** The write fault on a read-only page. True: it was copied. */
export const do_wp_page = fn(function* do_wp_page(mm: Mm, addr: number): Steps<boolean> {
  const pmdp = yield* mm_find_pmd(mm, addr);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, addr));
  if (!locked) return false;
  const orig_pte = yield* ptep_get(locked.ptep);
  const isProtected = orig_pte.present && !orig_pte.writable;
  if (isProtected && (yield* mm_tlb_flush_pending(mm))) yield* flush_tlb_page(mm, addr);
  yield* pte_unmap_unlock(locked.ptl);
  return isProtected && (yield* wp_page_copy(mm, addr, orig_pte));
});

/** Copies the page and maps the copy, if the entry is still what it was. */
export const wp_page_copy = fn(function* wp_page_copy(
  mm: Mm,
  addr: number,
  orig_pte: Pte,
): Steps<boolean> {
  const old = pte_page(orig_pte);
  const copy = yield* alloc_page();
  yield* memcpy_to_page(copy, 0, yield* memcpy_from_page(old, 0));
  const range = yield* invalidation_begins(mm, addr, addr + PAGE_SIZE);
  const isSame = yield* replace_by_copy(mm, addr, orig_pte, copy);
  yield* invalidation_ends(range);
  yield* folio_put(isSame ? old : copy);
  return isSame;
});

/** Maps the copy, if the entry is still what it was. */
export const replace_by_copy = fn(
  function* replace_by_copy(mm: Mm, addr: number, orig_pte: Pte, copy: Page): Steps<boolean> {
    const pmdp = yield* mm_find_pmd(mm, addr);
    const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, addr));
    if (!locked) return false;
    const isSame = yield* vmf_pte_same(locked.ptep, orig_pte);
    if (isSame) {
      yield* ptep_clear_flush(mm, addr, locked.ptep);
      yield* folio_add_rmap_pte(mm, copy);
      yield* set_pte_at(locked.ptep, pte_of(mm, copy, { writable: true }));
      yield* folio_remove_rmap_pte(mm, pte_page(orig_pte));
    }
    yield* pte_unmap_unlock(locked.ptl);
    return isSame;
  },
  { hidden: true, onBehalf: true },
);

/** wp_page_reuse(): the page is nobody else's, so the entry may as well permit writing. */
export const wp_page_reuse = fn(function* wp_page_reuse(mm: Mm, addr: number): Steps<void> {
  const pmdp = yield* mm_find_pmd(mm, addr);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, addr));
  if (!locked) return;
  const pte = yield* ptep_get(locked.ptep);
  if (pte.present && !pte.writable) {
    yield* set_pte_at(locked.ptep, pte_of(mm, pte_page(pte), { writable: true }));
    yield* flush_tlb_page(mm, addr); // a stale read-only translation would fault again (arm64)
  }
  yield* pte_unmap_unlock(locked.ptl);
});

const alloc_page = fn(
  function* alloc_page(): Steps<Page> {
    return yield* allocate_frame({ what: 'copy', level: -1, recycle: false });
  },
  { hidden: true },
);
