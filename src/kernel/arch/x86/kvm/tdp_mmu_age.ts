import { fn } from '../../../../machine/fn.ts';
import type { Steps } from '../../../../machine/op.ts';
import { rcu_read_lock, rcu_read_unlock } from '../../../kernel/rcu.ts';
import type { Kvm } from '../../../virt/kvm/types.ts';
import {
  is_accessed_spte,
  is_last_spte,
  is_shadow_present_pte,
  mark_spte_for_access_track,
  masks_of,
  spte_ad_enabled,
  tdp_mmu_clear_spte_bits_atomic,
} from './spte.ts';
import { tdp_iter_next, tdp_iter_start, type TdpIter } from './tdp_iter.ts';
import { __tdp_mmu_set_spte_atomic, kvm_tdp_mmu_write_spte } from './tdp_mmu.ts';

/**
 * The TDP MMU: has the guest used its pages?
 *
 * Guarantee: a page that was used since the last look is found to be used, but for races that do no harm: to
 * call a page young or old a moment too late costs time only. TLBs are not flushed, so a guest that has the
 * page cached is not seen either.
 * Mechanism, under mmu_lock: nobody else changes entries but hardware, so clearing the bit is an AND.
 * Mechanism, without it (v6.15): a compare-and-exchange from the entry that was judged. Where it fails, the
 * entry is being changed, and what it says then is the business of who changes it.
 * Why no AND: it clears the bit in whatever the entry says by now, and FROZEN_SPTE has the bit set. A frozen
 * entry without it is frozen no more.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (kvm_tdp_mmu_age_gfn_range, under mmu_lock) and v7.2
 * (kvm_tdp_mmu_age_spte, without).
 */

/** Clears the mark with mmu_lock held for writing: v6.12. */
export const age_gfn_locked = fn(
  function* age_gfn_locked(kvm: Kvm, iter: TdpIter): Steps<void> {
    const { sptep, old_spte, level } = iter;
    if (spte_ad_enabled(kvm)) {
      const { accessed: shadow_accessed_mask } = masks_of(kvm);
      yield* tdp_mmu_clear_spte_bits_atomic(sptep, shadow_accessed_mask);
      return;
    }
    const tracked = mark_spte_for_access_track(kvm, old_spte, level);
    yield* kvm_tdp_mmu_write_spte(kvm, sptep, old_spte, tracked, level);
  },
  { hidden: true },
);

/** kvm_tdp_mmu_age_spte(): clears the mark without a lock. */
export const kvm_tdp_mmu_age_spte = fn(function* kvm_tdp_mmu_age_spte(
  kvm: Kvm,
  iter: TdpIter,
): Steps<void> {
  // It failed: the entry is being zapped, or it is in use after all.
  yield* __tdp_mmu_set_spte_atomic(
    iter,
    mark_spte_for_access_track(kvm, iter.old_spte, iter.level),
  );
});

/** The same as it must not be: clears the bit, whatever the entry says by now (v6.15's first form). */
export const age_spte_by_and = fn(
  function* age_spte_by_and(kvm: Kvm, iter: TdpIter): Steps<void> {
    const { accessed: shadow_accessed_mask } = masks_of(kvm);
    yield* tdp_mmu_clear_spte_bits_atomic(iter.sptep, shadow_accessed_mask);
  },
  { hidden: true },
);

/** __kvm_tdp_mmu_age_gfn_range(): was a page of the range used? `clear`: forget it. */
function* age_range(
  kvm: Kvm,
  start: number,
  end: number,
  clear: ((kvm: Kvm, iter: TdpIter) => Steps<void>) | null,
): Steps<boolean> {
  let young = false;
  yield* rcu_read_lock();
  const iter = yield* tdp_iter_start(kvm, kvm.root, start, end);
  for (; iter.valid; yield* tdp_iter_next(iter)) {
    const { old_spte, level } = iter;
    if (!is_shadow_present_pte(kvm, old_spte) || !is_last_spte(kvm, old_spte, level)) continue;
    if (!is_accessed_spte(kvm, old_spte)) continue;
    young = true;
    if (!clear) break;
    yield* clear(kvm, iter);
  }
  yield* rcu_read_unlock();
  return young;
}

/** With mmu_lock held for writing. */
export const kvm_tdp_mmu_age_gfn_range = fn(function* kvm_tdp_mmu_age_gfn_range(
  kvm: Kvm,
  start: number,
  end: number,
  clear: boolean,
): Steps<boolean> {
  return yield* age_range(kvm, start, end, clear ? age_gfn_locked : null);
});

/** Without any lock of KVM's. */
export const kvm_tdp_mmu_age_gfn_range_lockless = fn(function* kvm_tdp_mmu_age_gfn_range_lockless(
  kvm: Kvm,
  start: number,
  end: number,
  clear: boolean,
): Steps<boolean> {
  return yield* age_range(kvm, start, end, clear ? kvm_tdp_mmu_age_spte : null);
});
