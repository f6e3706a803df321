import { holds } from '../../machine/protection.ts';
import { fn, leaf } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, spin_lock, spin_unlock, up_write } from '../../machine/ops/locks.ts';
import { write_word } from '../../machine/ops/memory.ts';
import { allocate_frame, entry_suspended } from '../../machine/ops/pages.ts';
import { smp_wmb } from '../../machine/ops/store-buffer.ts';
import { folio_trylock, folio_unlock } from './filemap.ts';
import { pgtable_trans_huge_deposit } from './huge_memory.ts';
import { PAGE_SIZE } from './layout.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { tlb_remove_table_sync_one } from './mmu_gather-tables.ts';
import { folio_put, folio_ref_count, memcpy_from_page, memcpy_to_page } from './page-ref.ts';
import { pte_lockptr } from './pgtable-generic.ts';
import { offset_lockless, pte_page, ptep_get, ptep_get_and_clear } from './pgtable.ts';
import { mk_huge_pmd, pmd_populate, pmdp_collapse_flush, set_pmd_at } from './pgtable-set.ts';
import { pmd_lockptr } from './pgtable-generic.ts';
import { folio_mapcount, folio_remove_rmap_pte, mm_find_pmd } from './rmap.ts';
import type { Mm, Pmd, Pte, Ptep, Vma } from './types.ts';

/**
 * Collapse: replacing the small pages of a range by one huge page, and page tables by nothing.
 *
 * Guarantee (anonymous memory): whoever holds a reference on one of the small pages keeps it mapped: then
 * there is no collapse. And nobody is in the page table when it is put aside.
 *
 * Mechanism. The PMD entry is cleared and flushed, which hides the table from new walks; then an interrupt to
 * every CPU (sync-one) waits for the walks with interrupts off that were in it already; only then are the
 * reference counts compared with the mapping counts. Locks keep everybody else out: mmap_lock and the VMA's
 * anon_vma for writing against faults and the reverse mapping.
 *
 * Why it suffices: a walker of GUP-fast either has its reference before the counts are compared, or begins
 * after the PMD entry was cleared. Without the interrupt it may still take one afterwards; its second look
 * at the PMD entry makes it give that back, but it reads a table that may be gone by then (M1.6). Without the
 * second look it keeps a page that is no longer mapped (M1.5), unless the interrupt is there.
 *
 * File pages: only the (empty) table is removed, see retract.ts.
 *
 * The LRU is not modelled; a page table holds as many entries as the scenario maps.
 *
 * Follows linux v6.12 mm/khugepaged.c (collapse_huge_page, __collapse_huge_page_isolate,
 * __collapse_huge_page_copy).
 */

const set_compound_head = leaf(function* set_compound_head(mm: Mm, page: Page): Steps<void> {
  yield* write_word(mm.kernel.folio(page).PG_head, 1);
});

/** alloc_charge_folio(): a large folio, which nobody has seen yet. */
const alloc_charge_folio = fn(function* alloc_charge_folio(mm: Mm): Steps<Page> {
  const folio = yield* allocate_frame({ what: 'huge', level: -1, recycle: false });
  yield* set_compound_head(mm, folio);
  return folio;
});

/** One small page of the range: where it is mapped, and at which place of the huge page it will be. */
interface Small {
  readonly ptep: Ptep;
  readonly pte: Pte;
  readonly page: Page;
  readonly nr: number;
}

/** is_refcount_suitable(): does nobody hold the page but the entries that map it? */
export const is_refcount_suitable = fn(
  function* is_refcount_suitable(mm: Mm, page: Page): Steps<boolean> {
    const expected = yield* folio_mapcount(mm, page);
    return (yield* folio_ref_count(mm.kernel, page)) === expected;
  },
  { protects: { what: 'is_refcount_suitable()', without: holds } },
);

function rangeOf(mm: Mm, address: number): { readonly base: number; readonly mapped: number[] } {
  const size = 2 ** (mm.kernel.arch.levels[1]?.shift ?? 0);
  const base = Math.floor(address / size) * size;
  return { base, mapped: mm.mapped.filter((at) => at >= base && at < base + size) };
}

function hugeRange(mm: Mm, address: number): readonly [start: number, end: number] {
  const { base } = rangeOf(mm, address);
  return [base, base + 2 ** (mm.kernel.arch.levels[1]?.shift ?? 0)];
}

/** Locks the small pages, or says which was in the way: null. The table is detached, its lock held. */
const __collapse_huge_page_isolate = fn(function* __collapse_huge_page_isolate(
  mm: Mm,
  pmd: Pmd,
  address: number,
): Steps<{ readonly small: Small[]; readonly done: boolean }> {
  const { base, mapped } = rangeOf(mm, address);
  const small: Small[] = [];
  for (const at of mapped) {
    const ptep = offset_lockless(mm, pmd, 0, at);
    const pte = yield* ptep_get(ptep);
    if (!pte.present) continue;
    const page = pte_page(pte);
    if (!(yield* folio_trylock(mm.kernel, page))) return { small, done: false };
    small.push({ ptep, pte, page, nr: (at - base) / PAGE_SIZE });
    if (!(yield* is_refcount_suitable(mm, page))) return { small, done: false };
  }
  return { small, done: true };
});

/** Copies one page; of each, one word is modelled. */
const copy_mc_user_highpage = fn(function* copy_mc_user_highpage(
  folio: Page,
  { page, nr }: Small,
): Steps<void> {
  yield* memcpy_to_page(folio, nr * 8, yield* memcpy_from_page(page, 0));
});

/** Copies the small pages, takes their entries out of the detached table, and drops them. */
const __collapse_huge_page_copy = fn(function* __collapse_huge_page_copy(
  mm: Mm,
  folio: Page,
  ptl: ReturnType<typeof pte_lockptr>,
  small: readonly Small[],
): Steps<void> {
  for (const one of small) yield* copy_mc_user_highpage(folio, one);
  for (const { ptep, page } of small) {
    yield* spin_lock(ptl);
    yield* ptep_get_and_clear(ptep); // nothing to flush: the table is out of reach since the PMD's flush
    yield* folio_remove_rmap_pte(mm, page);
    yield* spin_unlock(ptl);
    yield* folio_unlock(mm.kernel, page);
    yield* folio_put(page);
  }
});

/** Replaces the small pages around `address` by a huge page; false if somebody holds one of them. */
export const collapse_huge_page = fn(function* collapse_huge_page(
  mm: Mm,
  address: number,
): Steps<boolean> {
  const folio = yield* alloc_charge_folio(mm);
  const vma = mm.vmas.find(({ start, end }) => address >= start && address < end) as Vma;
  yield* down_write(mm.mmap_lock);
  const pmdp = yield* mm_find_pmd(mm, address);
  let collapsed = false;
  if (pmdp) {
    yield* down_write(vma.rwsem); // anon_vma_lock_write()
    const range = yield* invalidation_begins(mm, ...hugeRange(mm, address));
    const pmd_ptl = pmd_lockptr(mm, pmdp);
    yield* spin_lock(pmd_ptl);
    yield* entry_suspended(pmdp);
    const pmd = yield* pmdp_collapse_flush(mm, address, pmdp);
    yield* spin_unlock(pmd_ptl);
    yield* invalidation_ends(range);
    yield* tlb_remove_table_sync_one(mm); // walks that began before the PMD entry was cleared are over

    const ptl = pte_lockptr(mm, pmd);
    yield* spin_lock(ptl);
    const { small, done } = yield* __collapse_huge_page_isolate(mm, pmd, address);
    yield* spin_unlock(ptl);
    if (done) {
      yield* up_write(vma.rwsem);
      yield* __collapse_huge_page_copy(mm, folio, ptl, small);
      yield* smp_wmb(); // __folio_mark_uptodate(): the copy before the entry that shows it (M9.7)
      const huge = mk_huge_pmd(mm, folio, small[0]?.pte.writable ?? true);
      yield* spin_lock(pmd_ptl);
      yield* pgtable_trans_huge_deposit(mm, pte_page(pmd));
      yield* set_pmd_at(pmdp, huge);
      yield* spin_unlock(pmd_ptl);
      collapsed = true;
    } else {
      for (const { page } of small) yield* folio_unlock(mm.kernel, page);
      yield* spin_lock(pmd_ptl);
      yield* pmd_populate(mm, pmdp, pte_page(pmd));
      yield* spin_unlock(pmd_ptl);
      yield* up_write(vma.rwsem);
    }
  }
  yield* up_write(mm.mmap_lock);
  if (!collapsed) yield* folio_put(folio);
  return collapsed;
});
