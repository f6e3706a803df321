import { fn, leaf } from '../../../../machine/fn.ts';
import type { Steps } from '../../../../machine/op.ts';
import { and_entry } from '../../../../machine/ops/memory.ts';
import type { Kvm, Spte, Sptep } from '../../../virt/kvm/types.ts';
import { mmu_spte_get_lockless } from './mmu-walk.ts';
import { rmap_sptes } from './pte-list.ts';
import { kvm_rmap_lock_readonly, kvm_rmap_unlock_readonly } from './rmap.ts';
import { gfn_to_rmap } from './shadow-page.ts';
import {
  is_accessed_spte,
  mark_spte_for_access_track,
  masks_of,
  spte_ad_enabled,
  try_cmpxchg64,
} from './spte.ts';

/**
 * Was a page of the guest used? Asked of shadow pages without mmu_lock.
 *
 * Guarantee: nothing but the accessed mark changes, and nothing freed is touched. Mechanism: the rmap's lock keeps
 * the chain and the shadow pages in it (rmap.ts); an entry may be cleared or changed under the walk, so the mark
 * is cleared by one atomic instruction. Where hardware has an accessed bit that is clear_bit(): of an entry that
 * was cleared meanwhile it makes the same again, because no special value of the shadow MMU contains the bit.
 * Where it has none the entry is replaced by one that allows nothing, if it is still the one that was read; if
 * not, somebody else is zapping it or using it, and it stays young.
 * Not provided: a flush. A translation that stays cached sets no mark; the answer is a guess of use anyway.
 *
 * Follows linux v6.15 arch/x86/kvm/mmu/mmu.c (kvm_rmap_age_gfn_range).
 */

const clear_bit = leaf(
  function* clear_bit(mask: bigint, sptep: Sptep): Steps<void> {
    yield* and_entry(sptep, ~mask);
  },
  { address: [1] },
);

/** Forgets that the entry, which says `spte`, was used. */
export const age_spte = fn(function* age_spte(kvm: Kvm, sptep: Sptep, spte: Spte): Steps<void> {
  const { accessed: shadow_accessed_mask } = masks_of(kvm);
  if (spte_ad_enabled(kvm)) yield* clear_bit(shadow_accessed_mask, sptep);
  else yield* try_cmpxchg64(sptep, spte, mark_spte_for_access_track(kvm, spte, 0));
});

/** Was a page of [start, end) used? Forgets it, unless `test_only`. */
export const kvm_rmap_age_gfn_range = fn(function* kvm_rmap_age_gfn_range(
  kvm: Kvm,
  start: number,
  end: number,
  test_only: boolean,
): Steps<boolean> {
  let young = false;
  for (let gfn = start; gfn < end; gfn++) {
    const rmap_head = gfn_to_rmap(kvm, gfn);
    const val = yield* kvm_rmap_lock_readonly(kvm, rmap_head.val);
    for (const sptep of yield* rmap_sptes(kvm, rmap_head, val)) {
      const spte = yield* mmu_spte_get_lockless(sptep);
      if (!is_accessed_spte(kvm, spte)) continue;
      young = true;
      if (!test_only) yield* age_spte(kvm, sptep, spte);
    }
    yield* kvm_rmap_unlock_readonly(rmap_head.val, val);
  }
  return young;
});
