import { fn, leaf } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, spin_lock, spin_unlock, up_write } from '../../machine/ops/locks.ts';
import { READ_ONCE, write_word } from '../../machine/ops/memory.ts';
import { allocate_frame } from '../../machine/ops/pages.ts';
import { smp_mb, smp_mb__after_atomic } from '../../machine/ops/store-buffer.ts';
import { flush_tlb_mm_range } from '../arch/flush.ts';
import { raw_write_seqcount_begin, raw_write_seqcount_end } from '../kernel/seqlock.ts';
import { PAGE_MAPPING_ANON } from './filemap.ts';
import { folio_maybe_dma_pinned } from './gup-folio.ts';
import { PAGE_SIZE } from './layout.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { folio_get, memcpy_from_page, memcpy_to_page } from './page-ref.ts';
import { offset_lockless, pmdp_get_lockless, pte_page, ptep_get, set_pte_at } from './pgtable.ts';
import { pte_lockptr } from './pgtable-generic.ts';
import { mk_pte, ptep_set_wrprotect } from './pgtable-set.ts';
import { pte_wrprotect } from './pgtable.ts';
import { folio_add_rmap_pte, mm_find_pmd } from './rmap.ts';
import type { Mm } from './types.ts';

/**
 * Anonymous pages that stop being one process's alone: fork(), and what it has in common with KSM (ksm.ts).
 *
 * Guarantee: a pinned page is never shared. Its owner's next write would copy it, and whoever pinned it would
 * go on with a page that the owner does not see.
 *
 * Mechanism. PageAnonExclusive says that a page is its owner's alone; GUP-fast refuses to pin a read-only page
 * without it. KSM clears the entry, looks for pins, clears the flag, and restores the entry read-only: a pin
 * that came too late for the second step finds the entry changed, or the flag gone. fork() does not clear
 * entries (that would cost a flush each); it makes `write_protect_seq` odd meanwhile, and a pin made during
 * that is given back. Secondary MMUs are told before: what they may write is not shared either.
 *
 * Assumes: the locks below keep everybody out but lockless walkers.
 *
 * Follows linux v6.12 include/linux/rmap.h (folio_try_share_anon_rmap_pte, folio_try_dup_anon_rmap_pte) and
 * mm/memory.c (copy_page_range, copy_present_ptes).
 */

const ClearPageAnonExclusive = leaf(function* ClearPageAnonExclusive(
  mm: Mm,
  page: Page,
): Steps<void> {
  yield* write_word(mm.kernel.folio(page).PG_anon_exclusive, 0);
});

/** Makes a page one that may be shared, unless it may be pinned. Its entry has been cleared. */
export const folio_try_share_anon_rmap_pte = fn(function* folio_try_share_anon_rmap_pte(
  mm: Mm,
  page: Page,
): Steps<boolean> {
  yield* smp_mb(); // the cleared entry before the look for pins: GUP-fast does it the other way round
  if (yield* folio_maybe_dma_pinned(mm, page)) return false;
  yield* ClearPageAnonExclusive(mm, page);
  yield* smp_mb__after_atomic(); // the flag before the entry that is restored
  return true;
});

/** folio_needs_cow_for_dma(): must fork() copy the page at once, because it may be pinned? */
export const folio_needs_cow_for_dma = fn(function* folio_needs_cow_for_dma(
  mm: Mm,
  page: Page,
): Steps<boolean> {
  if ((yield* READ_ONCE(mm.has_pinned)) === 0) return false;
  return yield* folio_maybe_dma_pinned(mm, page);
});

/** copy_present_page(): the child gets its own copy. */
const copy_present_page = fn(function* copy_present_page(mm: Mm, page: Page): Steps<Page> {
  const copy = yield* allocate_frame({ what: 'copy', level: -1, recycle: false });
  yield* write_word(mm.kernel.folio(copy).mapping, PAGE_MAPPING_ANON);
  yield* write_word(mm.kernel.folio(copy).PG_anon_exclusive, 1);
  yield* memcpy_to_page(copy, 0, yield* memcpy_from_page(page, 0));
  return copy;
});

/** What a mapping's flags say of it: is_cow_mapping(). */
export interface MappingKind {
  /** Private, and may be written: fork() makes both sides copy. Not so what is shared on purpose. */
  readonly is_cow: boolean;
}

const COW: MappingKind = Object.freeze({ is_cow: true });

/** copy_present_ptes(), of one entry whose tables exist in both address spaces. */
export const copy_present_pte = fn(function* copy_present_pte(
  dst: Mm,
  src: Mm,
  addr: number,
  { is_cow }: MappingKind = COW,
): Steps<void> {
  const [dst_pmdp, src_pmdp] = [yield* mm_find_pmd(dst, addr), yield* mm_find_pmd(src, addr)];
  if (!dst_pmdp || !src_pmdp) return;
  const dst_pmd = yield* pmdp_get_lockless(dst_pmdp);
  const src_pmd = yield* pmdp_get_lockless(src_pmdp);
  const [dst_ptl, src_ptl] = [pte_lockptr(dst, dst_pmd), pte_lockptr(src, src_pmd)];
  const dst_ptep = offset_lockless(dst, dst_pmd, 0, addr);
  const src_ptep = offset_lockless(src, src_pmd, 0, addr);
  yield* spin_lock(dst_ptl);
  yield* spin_lock(src_ptl); // nested
  const pte = yield* ptep_get(src_ptep);
  const page = pte_page(pte);
  if (is_cow && (yield* folio_needs_cow_for_dma(src, page))) {
    const copy = yield* copy_present_page(src, page);
    yield* folio_add_rmap_pte(dst, copy);
    yield* set_pte_at(dst_ptep, mk_pte(dst, copy, { writable: true }));
  } else {
    if (is_cow) yield* ClearPageAnonExclusive(src, page);
    yield* folio_get(page);
    yield* folio_add_rmap_pte(dst, page);
    if (is_cow) yield* ptep_set_wrprotect(src_ptep, pte_wrprotect(src, pte));
    yield* set_pte_at(dst_ptep, is_cow ? pte_wrprotect(dst, pte) : pte);
  }
  yield* spin_unlock(src_ptl);
  yield* spin_unlock(dst_ptl);
});

/**
 * copy_page_range(): the child maps what the parent maps. Where both have to copy from now on, the parent loses
 * permissions, so the invalidation is of all of the range and begins before the first entry is touched.
 */
export const copy_page_range = fn(function* copy_page_range(
  dst: Mm,
  src: Mm,
  start: number,
  end: number,
  kind: MappingKind = COW,
): Steps<void> {
  const range = kind.is_cow ? yield* invalidation_begins(src, start, end) : null;
  if (kind.is_cow) yield* raw_write_seqcount_begin(src.write_protect_seq); // no pin of GUP-fast counts
  for (const addr of src.mapped) {
    if (addr >= start && addr < end) yield* copy_present_pte(dst, src, addr, kind);
  }
  if (kind.is_cow) yield* raw_write_seqcount_end(src.write_protect_seq);
  yield* invalidation_ends(range);
});

/** dup_mmap(), of one mapping. */
export const dup_mmap = fn(function* dup_mmap(
  dst: Mm,
  src: Mm,
  addr: number,
  len: number = PAGE_SIZE,
  kind?: MappingKind,
): Steps<void> {
  yield* down_write(src.mmap_lock);
  yield* copy_page_range(dst, src, addr, addr + len, kind);
  yield* flush_tlb_mm_range(src, addr, addr + len, false);
  yield* up_write(src.mmap_lock);
});
