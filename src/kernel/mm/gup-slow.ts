import { fn } from '../../machine/fn.ts';
import type { Entry, EntryPointer, Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_read, spin_lock, spin_unlock, up_read } from '../../machine/ops/locks.ts';
import { settle_claim } from '../../machine/ops/pages.ts';
import { FOLL_WRITE, gup_folio_permitted, gup_grab_folio, gup_put_folio } from './gup-folio.ts';
import { gup_fast } from './gup.ts';
import { pmd_leaf, pmdp_get, pte_access_permitted, pte_page, ptep_get } from './pgtable.ts';
import { pte_offset_map_lock, pte_unmap_unlock } from './pgtable-generic.ts';
import { pmd_lockptr } from './pgtable-generic.ts';
import { mm_find_pmd } from './rmap.ts';
import type { Mm } from './types.ts';

/**
 * The slow path: what GUP-fast leaves to it, under locks.
 *
 * Guarantee: as GUP-fast, but nothing changes while it looks: mmap_lock keeps mappings, the lock of the table
 * keeps the entry. So a reference is simply taken. Where nothing is mapped the kernel would fault the page
 * in; here the answer is null.
 *
 * Follows linux v6.12 mm/gup.c (gup_fast_fallback, __get_user_pages, follow_page_pte, follow_pmd_mask).
 */

/** Takes the page that `entry` maps, whose lock is held. */
const take_page = fn(
  function* take_page(mm: Mm, entry: Entry, addr: number, flags: number): Steps<Page | null> {
    if (!pte_access_permitted(entry, (flags & FOLL_WRITE) !== 0)) return null;
    const page = pte_page(entry);
    if (!(yield* gup_grab_folio(mm, page, addr, flags))) return null;
    if (yield* gup_folio_permitted(mm, page, entry, flags)) return page;
    yield* gup_put_folio(mm, page, flags);
    return null;
  },
  { hidden: true },
);

const follow_trans_huge_pmd = fn(function* follow_trans_huge_pmd(
  mm: Mm,
  pmdp: EntryPointer,
  addr: number,
  flags: number,
): Steps<Page | null> {
  const ptl = pmd_lockptr(mm, pmdp);
  yield* spin_lock(ptl);
  const pmd = yield* pmdp_get(pmdp);
  const page = pmd_leaf(pmd) ? yield* take_page(mm, pmd, addr, flags) : null;
  yield* spin_unlock(ptl);
  return page;
});

const follow_page_pte = fn(function* follow_page_pte(
  mm: Mm,
  pmdp: EntryPointer,
  addr: number,
  flags: number,
): Steps<Page | null> {
  const locked = yield* pte_offset_map_lock(mm, pmdp, addr);
  if (!locked) return yield* follow_trans_huge_pmd(mm, pmdp, addr, flags);
  const page = yield* take_page(mm, yield* ptep_get(locked.ptep), addr, flags);
  yield* pte_unmap_unlock(locked.ptl);
  return page;
});

/** __get_user_pages_locked() of one page. */
export const get_user_pages_unlocked = fn(function* get_user_pages_unlocked(
  mm: Mm,
  addr: number,
  flags?: number,
): Steps<Page | null> {
  yield* down_read(mm.mmap_lock);
  const pmdp = yield* mm_find_pmd(mm, addr);
  const page = pmdp ? yield* follow_page_pte(mm, pmdp, addr, flags ?? 0) : null;
  const claimed = yield* settle_claim(page);
  yield* up_read(mm.mmap_lock);
  return claimed;
});

/** gup_fast_fallback(): without locks if possible, else with them. */
export const gup_fast_fallback = fn(function* gup_fast_fallback(
  mm: Mm,
  addr: number,
  flags?: number,
): Steps<Page | null> {
  const page = yield* gup_fast(mm, addr, flags ?? 0);
  return page ?? (yield* get_user_pages_unlocked(mm, addr, flags));
});
