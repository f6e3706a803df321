import { fn } from '../../machine/fn.ts';
import { holds } from '../../machine/protection.ts';
import type { Steps } from '../../machine/op.ts';
import { spin_lock, spin_trylock, spin_unlock } from '../../machine/ops/locks.ts';
import { pmd_lockptr, pte_lockptr } from './pgtable-generic.ts';
import {
  __pte_offset_map,
  pmd_clear,
  pmdp_get_lockless,
  pte_none,
  pte_unmap,
  ptep_get,
} from './pgtable.ts';
import type { Mm, Pmd, Pmdp, Ptep } from './types.ts';

/**
 * Freeing a page table that MADV_DONTNEED has emptied, under mmap_lock for reading.
 *
 * Guarantee: a table is unhooked only while it is empty and nobody can fill it.
 * Mechanism: its PMD entry is cleared with the lock of the upper table and the table's own lock held: right
 * away, while the own lock is still held from zapping, if the upper lock is free; or afterwards, by taking both
 * in their order and looking at every entry again.
 * Why it suffices: whoever fills a table locks it and then looks whether it is still attached
 * (pgtable-generic.ts). Such a locker may have found the table and its lock before they were unhooked, so both
 * must stay until it is gone: they are freed after a grace period, not after an interrupt (M3.14).
 *
 * Follows linux v6.14 mm/pt_reclaim.c and mm/memory.c (zap_pte_range).
 */

/** Unhooks a table whose own lock is held; null: the upper lock is taken. */
export const try_get_and_clear_pmd = fn(function* try_get_and_clear_pmd(
  mm: Mm,
  pmdp: Pmdp,
): Steps<Pmd | null> {
  const pml = pmd_lockptr(mm, pmdp);
  if (!(yield* spin_trylock(pml))) return null; // the order is the other way round
  const pmdval = yield* pmdp_get_lockless(pmdp);
  yield* pmd_clear(pmdp);
  yield* spin_unlock(pml);
  return pmdval;
});

/** Somebody may have filled the table since it was zapped. */
const is_empty = fn(
  function* is_empty(entries: readonly Ptep[]): Steps<boolean> {
    let isEmpty = true;
    for (const ptep of entries) isEmpty &&= pte_none(yield* ptep_get(ptep));
    return isEmpty;
  },
  { hidden: true, protects: { what: 'the second look at the entries', without: holds } },
);

/** Unhooks the table that `entries` are all of, if they are none; null: it is in use, or gone. */
export const try_to_free_pte = fn(function* try_to_free_pte(
  mm: Mm,
  pmdp: Pmdp,
  addr: number,
  entries: (first: Ptep) => readonly Ptep[],
): Steps<Pmd | null> {
  const pml = pmd_lockptr(mm, pmdp);
  yield* spin_lock(pml);
  const mapped = yield* __pte_offset_map(mm, pmdp, addr);
  if (!mapped) {
    yield* spin_unlock(pml);
    return null;
  }
  const ptl = pte_lockptr(mm, mapped.pmdval);
  yield* spin_lock(ptl);
  const isEmpty = yield* is_empty(entries(mapped.ptep));
  if (isEmpty) yield* pmd_clear(pmdp);
  yield* pte_unmap();
  yield* spin_unlock(ptl);
  yield* spin_unlock(pml);
  return isEmpty ? mapped.pmdval : null;
});
