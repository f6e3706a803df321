import { fn } from '../../machine/fn.ts';
import type { Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { bounded } from '../../machine/ops/control.ts';
import { spin_lock, spin_unlock } from '../../machine/ops/locks.ts';
import { holds } from '../../machine/protection.ts';
import { __pte_offset_map, pmdp_get_lockless, pte_unmap, same } from './pgtable.ts';
import type { Mm, Pmd, Pmdp, Ptep } from './types.ts';

/**
 * Locking a page table that may be removed meanwhile.
 *
 * Guarantee: while the lock is held the table is the one that `*pmdp` points to, unless it is being removed
 * by somebody whom the caller excludes otherwise (free_pgtables takes no page-table lock).
 * Mechanism: the table and its lock come from one load of the PMD entry; after taking the lock the entry is
 * loaded again, and if it changed everything starts over.
 * Why it suffices: who removes a table under only the page-table lock clears the PMD entry while holding
 * that lock, so "locked, then unchanged" means attached until unlock. Without the re-check an entry is
 * installed in a detached table (M6.1).
 *
 * Follows linux v6.12 mm/pgtable-generic.c, __pte_offset_map_lock().
 */

/** pte_lockptr(): the lock of the table that `pmdval`, the snapshot and not a second load, points to. */
export function pte_lockptr(mm: Mm, pmdval: Pmd): Word {
  return mm.ptl.get(pmdval.frame) ?? mm.ptl.get(mm.pgd) ?? mm.mmap_lock;
}

/** pmd_lockptr(): the lock of the table that the PMD entry is in. */
export function pmd_lockptr(mm: Mm, pmdp: Pmdp): Word {
  return mm.ptl.get(pmdp.frame) ?? mm.mmap_lock;
}

const ROUNDS = 3;

/** The re-check under the lock: does the entry still point to the table whose lock this is? */
const pmd_unchanged = fn(
  function* pmd_unchanged(pmdval: Pmd, pmdp: Pmdp): Steps<boolean> {
    const pmd = yield* pmdp_get_lockless(pmdp);
    return same(pmdval, pmd);
  },
  { hidden: true, protects: { what: 'the re-check of the PMD entry', without: holds } },
);

export interface LockedPte {
  readonly ptep: Ptep;
  readonly ptl: Word;
}

export const pte_offset_map_lock = fn(function* pte_offset_map_lock(
  mm: Mm,
  pmdp: Pmdp,
  addr: number,
): Steps<LockedPte | null> {
  for (const _ of bounded(ROUNDS)) {
    const mapped = yield* __pte_offset_map(mm, pmdp, addr);
    if (!mapped) return null;
    const ptl = pte_lockptr(mm, mapped.pmdval);
    yield* spin_lock(ptl);
    if (yield* pmd_unchanged(mapped.pmdval, pmdp)) return { ptep: mapped.ptep, ptl };
    yield* spin_unlock(ptl);
    yield* pte_unmap();
  }
  return null; // not reached: out of rounds, the actor stops there
});

export const pte_unmap_unlock = fn(function* pte_unmap_unlock(ptl: Word): Steps<void> {
  yield* spin_unlock(ptl);
  yield* pte_unmap();
});
