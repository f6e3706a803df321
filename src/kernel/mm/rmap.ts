import { fn, leaf } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_read, down_write, up_read, up_write } from '../../machine/ops/locks.ts';
import { READ_ONCE, add_word, write_word } from '../../machine/ops/memory.ts';
import { holds } from '../../machine/protection.ts';
import { pte_offset_map_lock, pte_unmap_unlock, type LockedPte } from './pgtable-generic.ts';
import {
  offset_lockless,
  p4dp_get,
  pgd_offset,
  pgdp_get,
  pmdp_get_lockless,
  pte_page,
  ptep_get,
  pudp_get,
} from './pgtable.ts';
import type { Mm, Pmdp, Pte, Vma } from './types.ts';

/**
 * The reverse mapping: from a page to the entries that map it.
 *
 * Guarantee: a walk visits every entry that maps the page, in every address space whose VMA is linked, with
 * the page-table lock held. Mechanism: the lock of the anon_vma (or of the file's i_mmap) keeps the list of
 * VMAs; per VMA the tables are walked down, the page-table lock is taken, and the entry must map the page.
 *
 * Why it suffices: an unmapper takes its VMA off the list, under that lock for writing, before it frees
 * tables, so no walk that begins later can arrive in a table that is being freed (M3.15). Whoever clears an
 * entry holds its page-table lock: a walk sees the entry, or waits until the flush that follows is done, as
 * long as the count of mappings goes down only after that flush (M3.12).
 *
 * `_mapcount` is the number of entries that map the page (the kernel's counts from -1).
 *
 * Follows linux v6.12 mm/rmap.c (rmap_walk_anon, rmap_walk_file, mm_find_pmd) and mm/page_vma_mapped.c.
 */

/** An entry that the reverse mapping leads to: the page was mapped there when the scenario began. */
export interface RmapPlace {
  readonly mm: Mm;
  readonly vma: Vma;
  readonly address: number;
}

/** Counts a new mapping of the page. */
export const folio_add_rmap_pte = leaf(function* folio_add_rmap_pte(
  mm: Mm,
  page: Page,
): Steps<void> {
  yield* add_word(mm.kernel.folio(page)._mapcount, 1);
});

/** Counts a mapping of the page no longer. */
export const folio_remove_rmap_pte = leaf(function* folio_remove_rmap_pte(
  mm: Mm,
  page: Page,
): Steps<void> {
  yield* add_word(mm.kernel.folio(page)._mapcount, -1);
});

/** folio_mapcount(): how many entries map the page. */
export const folio_mapcount = fn(
  function* folio_mapcount(mm: Mm, page: Page): Steps<number> {
    return yield* READ_ONCE(mm.kernel.folio(page)._mapcount);
  },
  { hidden: true },
);

/** Is the VMA still in the list that walks go through? */
const vma_is_linked = fn(
  function* vma_is_linked(vma: Vma): Steps<boolean> {
    return (yield* READ_ONCE(vma.linked)) === 1;
  },
  { hidden: true, protects: { what: 'vma_is_linked()', without: holds } },
);

const interval_tree_remove = leaf(function* interval_tree_remove(vma: Vma): Steps<void> {
  yield* write_word(vma.linked, 0);
});

/** unlink_file_vma(), unlink_anon_vmas(): hides a VMA from the reverse mapping. */
export const unlink_vma = fn(function* unlink_vma(vma: Vma): Steps<void> {
  yield* down_write(vma.rwsem);
  yield* interval_tree_remove(vma);
  yield* up_write(vma.rwsem);
});

/** The PMD entry for `addr`, found without a lock, or null if there is no such table. */
export const mm_find_pmd = fn(function* mm_find_pmd(mm: Mm, addr: number): Steps<Pmdp | null> {
  const pgd = yield* pgdp_get(pgd_offset(mm, addr));
  if (!pgd.table) return null;
  const p4d = yield* p4dp_get(offset_lockless(mm, pgd, 3, addr));
  if (!p4d.table) return null;
  const pud = yield* pudp_get(offset_lockless(mm, p4d, 2, addr));
  if (!pud.table) return null;
  return offset_lockless(mm, pud, 1, addr);
});

/** What a walk found: the entry, which maps the page, with its lock held. */
export interface MappedPte extends LockedPte {
  readonly pmdp: Pmdp;
  readonly pte: Pte;
}

/** check_pte(): the entry, if it maps the page. */
const check_pte = fn(
  function* check_pte(page: Page, locked: LockedPte): Steps<Pte | null> {
    const pte = yield* ptep_get(locked.ptep);
    return pte.present && pte_page(pte).frame === page.frame ? pte : null;
  },
  { hidden: true, protects: { what: 'check_pte()', without: (_page, { ptep }) => ptep_get(ptep) } },
);

/** page_vma_mapped_walk(): the entry at the place, locked, or null if it does not map the page by now. */
export const page_vma_mapped_walk = fn(function* page_vma_mapped_walk(
  page: Page,
  { mm, address }: RmapPlace,
): Steps<MappedPte | null> {
  const pmdp = yield* mm_find_pmd(mm, address);
  if (!pmdp || !(yield* pmdp_get_lockless(pmdp)).table) return null;
  const locked = yield* pte_offset_map_lock(mm, pmdp, address);
  if (!locked) return null;
  const pte = yield* check_pte(page, locked);
  if (pte) return { ...locked, pmdp, pte };
  yield* pte_unmap_unlock(locked.ptl);
  return null;
});

/**
 * rmap_walk(): calls `visit` for every place where the page may be mapped, each list locked for reading. It
 * ends early when `visit` says so (false).
 */
export const rmap_walk = fn(function* rmap_walk(
  mm: Mm,
  page: Page,
  visit: (place: RmapPlace) => Steps<boolean>,
): Steps<void> {
  for (const place of mm.kernel.rmap(page)) {
    yield* down_read(place.vma.rwsem);
    const goesOn = !(yield* vma_is_linked(place.vma)) || (yield* visit(place));
    yield* up_read(place.vma.rwsem);
    if (!goesOn) return;
  }
});
