import { fn, leaf } from '../../machine/fn.ts';
import type { LeafPermissions } from '../../machine/arch.ts';
import type { Entry, EntryPointer, Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { xchg_entry } from '../../machine/ops/memory.ts';
import { translations_gone } from '../../machine/ops/tlb.ts';
import { flush_tlb_mm_range } from '../arch/flush.ts';
import { sourceOf } from './layout.ts';
import { NONE, set_entry_atomic } from './pgtable-access.ts';
import type { Mm, Pmd, Pmdp, Pte, Ptep } from './types.ts';

/**
 * Making entries, installing them, and clearing them together with the flush.
 *
 * Guarantee: ptep_clear_flush() and pmdp_collapse_flush() return when no CPU can use the entry any more, nor
 * (of a PMD entry) the table behind it. Mechanism: the entry goes first, then the flush of
 * arch/flush.ts. Assumes: the lock of the entry's table is held, so nobody installs another one meanwhile.
 * What they do not promise: that software walkers have left the table. An interrupt's flush waits for those
 * with interrupts off; a broadcast waits for nobody.
 *
 * Follows linux v6.12 include/linux/pgtable.h and mm/pgtable-generic.c.
 */

function entry(mm: Mm, level: number, bits: bigint, generation: number): Entry {
  return Object.freeze({ ...mm.kernel.arch.decode(level, bits), bits, generation });
}

/** mk_pte(). */
export function mk_pte(mm: Mm, page: Page, prot: LeafPermissions): Pte {
  return entry(mm, 0, mm.kernel.arch.leaf(0, page.frame, prot), page.generation);
}

/** mk_huge_pmd(). */
export function mk_huge_pmd(mm: Mm, page: Page, writable: boolean): Pmd {
  return entry(mm, 1, mm.kernel.arch.leaf(1, page.frame, { writable }), page.generation);
}

/** make_writable_migration_entry(): not present, and not none either. */
export function make_migration_entry(mm: Mm, page: Page): Pte {
  return entry(mm, 0, mm.kernel.arch.absent(0, page.frame), page.generation);
}

/** set_pmd_at(): one store, of an entry that maps a huge page. */
export const set_pmd_at = leaf(function* set_pmd_at(pmdp: Pmdp, pmd: Pmd): Steps<void> {
  yield* set_entry_atomic(pmdp, pmd);
});

/** pmd_populate(): links a table (again). */
export const pmd_populate = leaf(function* pmd_populate(
  mm: Mm,
  pmdp: Pmdp,
  table: Page,
): Steps<void> {
  yield* set_entry_atomic(
    pmdp,
    entry(mm, 1, mm.kernel.arch.table(1, table.frame), table.generation),
  );
});

/** ptep_set_wrprotect(), to `wrprotected`: an atomic instruction, because hardware may set the dirty bit. */
export const ptep_set_wrprotect = leaf(function* ptep_set_wrprotect(
  ptep: Ptep,
  wrprotected: Pte,
): Steps<void> {
  yield* xchg_entry(ptep, wrprotected);
});

/** Removes the entry of a huge page, or of a table, and returns what it was. */
export const pmdp_huge_get_and_clear = leaf(function* pmdp_huge_get_and_clear(
  pmdp: EntryPointer,
): Steps<Pmd> {
  return yield* xchg_entry(pmdp, NONE);
});

/** Unlinks a table for collapse, and removes all translations made through it. */
export const pmdp_collapse_flush = fn(function* pmdp_collapse_flush(
  mm: Mm,
  addr: number,
  pmdp: Pmdp,
): Steps<Pmd> {
  const size = 2 ** (mm.kernel.arch.levels[1]?.shift ?? 0);
  const base = Math.floor(addr / size) * size;
  const pmd = yield* pmdp_huge_get_and_clear(pmdp);
  yield* flush_tlb_mm_range(mm, base, base + size, true); // flush_tlb_range(): walk caches and lazy CPUs too
  yield* translations_gone([{ source: sourceOf(pmdp), bits: pmd.bits }]);
  return pmd;
});
