import { fn, leaf } from '../../../../machine/fn.ts';
import type { Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { read_entry, swap_word, write_entry, xchg_entry } from '../../../../machine/ops/memory.ts';
import { no } from '../../../../machine/protection.ts';
import type { Kvm, Spte, Sptep } from '../../../virt/kvm/types.ts';
import {
  is_dirty_spte,
  is_mmu_writable_spte,
  is_shadow_present_pte,
  is_writable_pte,
  nonpresent_spte,
  spte_ad_enabled,
  spte_has_volatile_bits,
} from './spte.ts';

/**
 * Changes of entries of shadow pages by the holder of mmu_lock.
 *
 * Guarantee: nothing that others put into an entry is lost: hardware its accessed and dirty bits, a fast page
 * fault the write permission, aging the mark that the entry is tracked. Mechanism: an entry in which any of
 * them may change is replaced by an exchange, and what is done next follows from what that returns. Of other
 * entries nobody can change anything, so that a store will do.
 * When to flush: by what the entry allowed, not by what it allows. If it was MMU-writable a processor may have
 * cached it as writable even if it is not now: somebody has taken the permission away and not flushed yet.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (mmu_spte_update, mmu_spte_clear_track_bits) and spte.c
 * (spte_has_volatile_bits); since aging takes no mmu_lock (v6.15) every entry without accessed and dirty bits is
 * volatile ("Always update A/D-disabled SPTEs atomically"). Whether a page was used is not handed on here.
 */

/** spte_needs_atomic_update(). */
export const spte_needs_atomic_update = fn(
  function* spte_needs_atomic_update(kvm: Kvm, spte: Spte): Steps<boolean> {
    return !spte_ad_enabled(kvm) || spte_has_volatile_bits(kvm, spte);
  },
  { hidden: true, protects: { what: 'exchanges of volatile SPTEs', without: no } },
);

/** *sptep, by the holder of mmu_lock. */
export const mmu_spte_get = leaf(function* mmu_spte_get(sptep: Sptep): Steps<Spte> {
  return yield* read_entry(sptep);
});

const __update_clear_spte_fast = leaf(function* __update_clear_spte_fast(
  sptep: Sptep,
  spte: Spte,
): Steps<void> {
  yield* write_entry(sptep, spte);
});

const __update_clear_spte_slow = leaf(function* __update_clear_spte_slow(
  sptep: Sptep,
  spte: Spte,
): Steps<Spte> {
  return yield* xchg_entry(sptep, spte);
});

/** Replaces what the entry says, `old` as far as we know. Returns what it really replaced. */
const update_spte = fn(
  function* update_spte(kvm: Kvm, sptep: Sptep, old: Spte, spte: Spte): Steps<Spte> {
    if (is_shadow_present_pte(kvm, old) && (yield* spte_needs_atomic_update(kvm, old))) {
      return yield* __update_clear_spte_slow(sptep, spte);
    }
    yield* __update_clear_spte_fast(sptep, spte);
    return old;
  },
  { hidden: true },
);

/** kvm_set_pfn_dirty(): the page was written to. */
export const kvm_set_pfn_dirty = leaf(function* kvm_set_pfn_dirty(
  kvm: Kvm,
  page: Page,
): Steps<void> {
  yield* swap_word(kvm.kernel.folio(page).PG_dirty, 1);
});

/** The page that a present entry maps. */
export function spte_to_page(kvm: Kvm, { frame, generation }: Spte): Page {
  return kvm.machine.memory.page(frame, generation);
}

/** Could a processor have cached a permission that the entry does not give any more? */
export const writable_may_be_cached = fn(
  function* writable_may_be_cached(kvm: Kvm, old: Spte, spte: Spte): Steps<boolean> {
    return is_mmu_writable_spte(kvm, old) && !is_writable_pte(kvm, spte);
  },
  { hidden: true },
);

/** mmu_spte_update(): makes a present entry say something else of the same page. True: flush. */
export const mmu_spte_update = fn(function* mmu_spte_update(
  kvm: Kvm,
  sptep: Sptep,
  spte: Spte,
): Steps<boolean> {
  const seen = yield* mmu_spte_get(sptep);
  const old = yield* update_spte(kvm, sptep, seen, spte);
  let flush = yield* writable_may_be_cached(kvm, old, spte);
  if (is_dirty_spte(kvm, old) && !is_dirty_spte(kvm, spte)) {
    flush = true;
    yield* kvm_set_pfn_dirty(kvm, spte_to_page(kvm, old));
  }
  return flush;
});

/** mmu_spte_clear_track_bits(): clears an entry; returns what it said. */
export const mmu_spte_clear_track_bits = fn(function* mmu_spte_clear_track_bits(
  kvm: Kvm,
  sptep: Sptep,
): Steps<Spte> {
  const seen = yield* mmu_spte_get(sptep);
  const old = yield* update_spte(kvm, sptep, seen, nonpresent_spte(kvm, 0));
  if (is_dirty_spte(kvm, old)) yield* kvm_set_pfn_dirty(kvm, spte_to_page(kvm, old));
  return old;
});
