import { fn } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_read, spin_lock, spin_unlock, up_read } from '../../machine/ops/locks.ts';
import { markPending } from '../../machine/ops/pages.ts';
import { call_rcu } from '../kernel/rcu.ts';
import { pte_free } from './huge_memory.ts';
import { tlb_remove_table_sync_one } from './mmu_gather-tables.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { is_split } from './pgtable-access.ts';
import { pmd_lockptr, pte_lockptr } from './pgtable-generic.ts';
import { pmd_populate, pmdp_collapse_flush } from './pgtable-set.ts';
import { pmd_none, pmdp_get, pte_page } from './pgtable.ts';
import { mm_find_pmd } from './rmap.ts';
import type { Mm, Pmdp, Vma } from './types.ts';

/**
 * Taking an empty page table away from under a process, and linking another one later.
 *
 * Guarantee: whoever has loaded a pointer to the table can go on reading it until his RCU read-side section
 * ends, and where entries are loaded by halves he has the pointer to one table and not of two.
 * Mechanism: the PMD entry is cleared and flushed under the locks of both tables; the table goes to RCU.
 * Before the locks are dropped pmdp_get_lockless_sync() waits, by an interrupt that every CPU must take, for
 * loads by halves in progress (pmdp_get_lockless_start): so at most one change happens during such a load.
 * Why the flush is not that wait: it goes to the CPUs that run the address space, and a paravirtual one skips
 * those that the host has descheduled.
 *
 * Follows linux v6.12 mm/khugepaged.c (retract_page_tables), mm/memory.c (pmd_install) and
 * mm/pgtable-generic.c (pmdp_collapse_flush, pte_free_defer), for one address space.
 */

/** Waits for every load by halves that began before. Where entries are one word there is none. */
export const pmdp_get_lockless_sync = fn(
  function* pmdp_get_lockless_sync(mm: Mm): Steps<void> {
    if (is_split()) yield* tlb_remove_table_sync_one(mm);
  },
  { protects: { what: 'pmdp_get_lockless_sync()' } },
);

/** The RCU callback of pte_free_defer(). */
const pte_free_now = fn(function* pte_free_now(pgtable: Page): Steps<void> {
  yield* pte_free(pgtable);
});

/** Frees a table when everybody who may be in it, with interrupts off or in an RCU section, has left. */
export const pte_free_defer = fn(function* pte_free_defer(_mm: Mm, pgtable: Page): Steps<void> {
  yield* call_rcu(pte_free_now, [pgtable], (machine) => markPending(machine, pgtable));
});

/** What one page table covers. */
function hugeRange(mm: Mm, addr: number): readonly [start: number, end: number] {
  const size = 2 ** (mm.kernel.arch.levels[1]?.shift ?? 0);
  const start = Math.floor(addr / size) * size;
  return [start, start + size];
}

/** Takes the table away that `*pmdp` points to. Nothing may be mapped by it. */
export const retract_page_table = fn(function* retract_page_table(
  mm: Mm,
  addr: number,
  pmdp: Pmdp,
): Steps<void> {
  const range = yield* invalidation_begins(mm, ...hugeRange(mm, addr));
  const pgtable = yield* detach_page_table(mm, addr, pmdp);
  yield* invalidation_ends(range);
  if (pgtable) yield* pte_free_defer(mm, pgtable);
});

/** What it does between the start and the end of the invalidation. */
export const detach_page_table = fn(
  function* detach_page_table(mm: Mm, addr: number, pmdp: Pmdp): Steps<Page | null> {
    const pml = pmd_lockptr(mm, pmdp);
    yield* spin_lock(pml);
    const pmd = yield* pmdp_get(pmdp);
    if (!pmd.table) {
      yield* spin_unlock(pml);
      return null;
    }
    const ptl = pte_lockptr(mm, pmd);
    yield* spin_lock(ptl); // nested: whoever locks the table and finds it attached keeps it so (invariant R)
    const pgt_pmd = yield* pmdp_collapse_flush(mm, addr, pmdp);
    yield* pmdp_get_lockless_sync(mm);
    yield* spin_unlock(ptl);
    yield* spin_unlock(pml);
    return pte_page(pgt_pmd);
  },
  { hidden: true, onBehalf: true },
);

/** Removes the empty page table of a file's range: its pages are found again by faults. */
export const retract_page_tables = fn(function* retract_page_tables(
  mm: Mm,
  address: number,
): Steps<void> {
  const vma = mm.vmas.find(({ start, end }) => address >= start && address < end) as Vma;
  yield* down_read(vma.rwsem); // i_mmap_lock_read()
  const pmdp = yield* mm_find_pmd(mm, address);
  if (pmdp) yield* retract_page_table(mm, address, pmdp);
  yield* up_read(vma.rwsem);
});

/** pmd_install(): links a new page table, unless there is one by now. */
export const pmd_install = fn(function* pmd_install(mm: Mm, pmdp: Pmdp, table: Page): Steps<void> {
  const pml = pmd_lockptr(mm, pmdp);
  yield* spin_lock(pml);
  if (pmd_none(yield* pmdp_get(pmdp))) yield* pmd_populate(mm, pmdp, table);
  yield* spin_unlock(pml);
});
