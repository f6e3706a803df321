import { fn } from '../../machine/fn.ts';
import type { Page, Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { spin_lock, spin_unlock } from '../../machine/ops/locks.ts';
import { markPending } from '../../machine/ops/pages.ts';
import { translations_gone } from '../../machine/ops/tlb.ts';
import { flush_tlb_mm_range } from '../arch/flush.ts';
import { call_rcu } from '../kernel/rcu.ts';
import { sourceOf } from './layout.ts';
import { __tlb_remove_table, tlb_remove_table_sync_one } from './mmu_gather-tables.ts';
import { is_split } from './pgtable-access.ts';
import { pte_lockptr } from './pgtable-generic.ts';
import { pmd_none, pmdp_get, pmdp_get_and_clear, pte_page, set_pmd } from './pgtable.ts';
import type { Mm, Pmd, Pmdp } from './types.ts';

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

/** pmd_lockptr(): the lock of the table that the entry is in. */
function pmd_lockptr(mm: Mm, pmdp: Pmdp): Word {
  return mm.ptl.get(pmdp.frame) ?? mm.mmap_lock;
}

/** Waits for every load by halves that began before. Where entries are one word there is none. */
export const pmdp_get_lockless_sync = fn(
  function* pmdp_get_lockless_sync(mm: Mm): Steps<void> {
    if (is_split()) yield* tlb_remove_table_sync_one(mm);
  },
  { protects: { what: 'pmdp_get_lockless_sync()' } },
);

/** pmdp_collapse_flush(): unlinks the table and drops the caches of what lies below it. */
const pmdp_collapse_flush = fn(function* pmdp_collapse_flush(
  mm: Mm,
  addr: number,
  size: number,
  pmdp: Pmdp,
): Steps<Pmd> {
  const pmd = yield* pmdp_get_and_clear(pmdp);
  yield* flush_tlb_mm_range(mm, addr, addr + size, true);
  yield* translations_gone([{ source: sourceOf(pmdp), bits: pmd.bits }]);
  return pmd;
});

/** retract_page_tables(): takes the table away that `*pmdp` points to. Nothing may be mapped by it. */
export const retract_page_table = fn(function* retract_page_tables(
  mm: Mm,
  addr: number,
  pmdp: Pmdp,
): Steps<void> {
  const size = 2 ** (mm.kernel.arch.levels[1]?.shift ?? 0);
  const pml = pmd_lockptr(mm, pmdp);
  yield* spin_lock(pml);
  const ptl = pte_lockptr(mm, yield* pmdp_get(pmdp));
  yield* spin_lock(ptl);
  const pgt_pmd = yield* pmdp_collapse_flush(mm, addr, size, pmdp);
  yield* pmdp_get_lockless_sync(mm);
  yield* spin_unlock(ptl);
  yield* spin_unlock(pml);
  yield* pte_free_defer(pte_page(pgt_pmd));
});

/** Frees a page table after a grace period. */
export const pte_free_defer = fn(function* pte_free_defer(table: Page): Steps<void> {
  yield* call_rcu(__tlb_remove_table, [table], (machine) => markPending(machine, table));
});

/** pmd_install(): links a new page table, unless there is one by now. */
export const pmd_install = fn(function* pmd_install(mm: Mm, pmdp: Pmdp, table: Page): Steps<void> {
  const pml = pmd_lockptr(mm, pmdp);
  yield* spin_lock(pml);
  if (pmd_none(yield* pmdp_get(pmdp))) yield* pmd_populate(mm, pmdp, table);
  yield* spin_unlock(pml);
});

/** Links a page table. */
export const pmd_populate = fn(function* pmd_populate(
  mm: Mm,
  pmdp: Pmdp,
  table: Page,
): Steps<void> {
  const { arch } = mm.kernel;
  const bits = arch.table(1, table.frame);
  const pmd = Object.freeze({ bits, generation: table.generation, ...arch.decode(1, bits) });
  yield* set_pmd(pmdp, pmd);
});
