import { fn } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { spin_lock, spin_unlock } from '../../machine/ops/locks.ts';
import { holds } from '../../machine/protection.ts';
import { folio_ref_inc } from './page-ref.ts';
import { pte_lockptr, pte_offset_map_lock, pte_unmap_unlock } from './pgtable-generic.ts';
import {
  __pte_offset_map,
  pte_none,
  pte_present,
  pte_unmap,
  ptep_get,
  ptep_get_lockless,
  same,
  set_pte_at,
} from './pgtable.ts';
import { mk_pte } from './pgtable-set.ts';
import type { Mm, Pmdp, Pte, Ptep } from './types.ts';

/**
 * Page faults on an entry, and others who put pages there.
 *
 * Guarantee: an entry is replaced only by one made from what it says at that moment. Mechanism: the entry is
 * read without the lock to find out what is to be done; then the page-table lock is taken and the entry must
 * still be the same. Why it suffices: whoever changes an entry holds that lock. Where entries are read by
 * halves the first reading may be torn, and the comparison is what makes that harmless (M2.12).
 *
 * Follows linux v6.12 mm/memory.c (handle_pte_fault, insert_page), without swap, faults in files and the reverse
 * mapping.
 */

function entry_of(mm: Mm, bits: bigint, generation: number): Pte {
  return Object.freeze({ bits, generation, ...mm.kernel.arch.decode(0, bits) });
}

/** pte_mkyoung() and pte_mkdirty(), as the access that faulted would have it. */
function pte_mkdirty(mm: Mm, pte: Pte): Pte {
  const { touch } = mm.kernel.arch.hardware;
  return entry_of(mm, touch(0, pte.bits, { write: true }) ?? pte.bits, pte.generation);
}

/** pte_same() under the lock: is the entry still what the fault was about? */
export const vmf_pte_same = fn(
  function* vmf_pte_same(ptep: Ptep, orig_pte: Pte): Steps<boolean> {
    return same(yield* ptep_get(ptep), orig_pte);
  },
  { hidden: true, protects: { what: 'pte_same() under the lock', without: holds } },
);

/** Stores an entry of the same page that permits more. */
export const ptep_set_access_flags = fn(function* ptep_set_access_flags(
  ptep: Ptep,
  entry: Pte,
): Steps<void> {
  if (!same(yield* ptep_get(ptep), entry)) yield* set_pte_at(ptep, entry);
});

/** A write fault on a page that is mapped: marks it accessed and dirty. `false`: nothing is mapped there. */
export const handle_pte_fault = fn(function* handle_pte_fault(
  mm: Mm,
  pmdp: Pmdp,
  addr: number,
): Steps<boolean> {
  const mapped = yield* __pte_offset_map(mm, pmdp, addr);
  if (!mapped) return false;
  const orig_pte = yield* ptep_get_lockless(mapped.ptep);
  if (!pte_present(orig_pte)) {
    yield* pte_unmap();
    return false;
  }
  const ptl = pte_lockptr(mm, mapped.pmdval);
  yield* spin_lock(ptl);
  const unchanged = yield* vmf_pte_same(mapped.ptep, orig_pte);
  if (unchanged) yield* ptep_set_access_flags(mapped.ptep, pte_mkdirty(mm, orig_pte));
  yield* spin_unlock(ptl);
  yield* pte_unmap();
  return unchanged;
});

/** insert_page(): maps a page that its owner, a driver say, goes on holding; where nothing is mapped. */
export const insert_page = fn(function* insert_page(
  mm: Mm,
  pmdp: Pmdp,
  addr: number,
  page: Page,
): Steps<void> {
  const locked = yield* pte_offset_map_lock(mm, pmdp, addr);
  if (!locked) return;
  const { ptep, ptl } = locked;
  if (pte_none(yield* ptep_get(ptep))) {
    yield* folio_ref_inc(page, null);
    yield* set_pte_at(ptep, mk_pte(mm, page, { writable: true }));
  }
  yield* pte_unmap_unlock(ptl);
});
