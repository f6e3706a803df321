import { fn } from '../../../../machine/fn.ts';
import type { Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { read_lock, read_unlock, write_lock, write_unlock } from '../../../../machine/ops/locks.ts';
import { rcu_read_lock, rcu_read_unlock } from '../../../kernel/rcu.ts';
import type { Kvm, Spte } from '../../../virt/kvm/types.ts';
import { kvm_flush_remote_tlbs } from '../../../virt/kvm/vcpu.ts';
import { sptep_at } from '../../../virt/kvm/boot.ts';
import {
  __kvm_tdp_mmu_write_spte,
  is_last_spte,
  is_shadow_present_pte,
  kvm_tdp_mmu_read_spte,
  nonpresent_spte,
  spte_to_child_pt,
} from './spte.ts';
import { for_each_tdp_pte, gfn_round_for_level, tdp_iter_start, type TdpIter } from './tdp_iter.ts';
import { handle_changed_spte, kvm_tdp_mmu_write_spte, tdp_mmu_zap_spte_atomic } from './tdp_mmu.ts';

/**
 * The TDP MMU: unmapping ranges of guest frames.
 *
 * Guarantee: when mmu_lock is dropped, or the RCU section of the walk is left, no vCPU uses what was unmapped.
 * Mechanism: who unmaps flushes before either. A walk that pauses flushes what it owes first: with mmu_lock
 * dropped a notifier would find the entries gone, flush nothing and let the pages be freed; and with the RCU
 * section left, the tables that it has removed can be freed under the hardware's walks.
 * Progress: a walk pauses only where it has not paused before (`yielded_gfn`), so somebody who always waits
 * for mmu_lock does not keep it at the same place.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (tdp_mmu_zap_leafs, kvm_tdp_mmu_unmap_gfn_range,
 * tdp_mmu_iter_cond_resched, zap_collapsible_spte_range).
 */

/** rwlock_needbreak() || need_resched(): must the walk let others run? Nobody waits, if not said otherwise. */
export const rwlock_needbreak = fn(
  function* rwlock_needbreak(_kvm: Kvm): Steps<boolean> {
    return false;
  },
  { hidden: true },
);

/** The walk has come further than where it paused last. */
export const tdp_iter_made_progress = fn(
  function* tdp_iter_made_progress(iter: TdpIter): Steps<boolean> {
    return iter.next_last_level_gfn !== iter.yielded_gfn;
  },
  { hidden: true },
);

/** Before the RCU section is left: what was unmapped until now is used no more. */
export const flush_before_yield = fn(
  function* flush_before_yield(kvm: Kvm, flush: boolean): Steps<void> {
    if (flush) yield* kvm_flush_remote_tlbs(kvm);
  },
  { hidden: true },
);

/** The end of a pause: the walk may go on. */
const end_of_resched = fn(
  function* end_of_resched(kvm: Kvm, shared: boolean): Steps<void> {
    yield* shared ? read_lock(kvm.mmu_lock) : write_lock(kvm.mmu_lock);
    yield* rcu_read_lock();
  },
  { hidden: true },
);

/**
 * tdp_mmu_iter_cond_resched(): lets others have mmu_lock. True: the walk is not under the lock any more, takes it
 * again (for_each_tdp_pte), and goes on from where it was, at the root.
 */
export const tdp_mmu_iter_cond_resched = fn(function* tdp_mmu_iter_cond_resched(
  kvm: Kvm,
  iter: TdpIter,
  flush: boolean,
  shared: boolean,
): Steps<boolean> {
  if (!(yield* tdp_iter_made_progress(iter))) return false;
  if (!(yield* rwlock_needbreak(kvm))) return false;
  yield* flush_before_yield(kvm, flush);
  yield* rcu_read_unlock();
  yield* shared ? read_unlock(kvm.mmu_lock) : write_unlock(kvm.mmu_lock);
  iter.yielded = () => end_of_resched(kvm, shared);
  return true;
});

/** tdp_mmu_iter_set_spte(): changes an entry with mmu_lock held for writing; returns what it said. */
export const tdp_mmu_iter_set_spte = fn(function* tdp_mmu_iter_set_spte(
  kvm: Kvm,
  iter: TdpIter,
  new_spte: Spte,
): Steps<Spte> {
  const { gfn, level, sptep } = iter;
  iter.old_spte = yield* kvm_tdp_mmu_write_spte(kvm, sptep, iter.old_spte, new_spte, level);
  yield* handle_changed_spte(kvm, gfn, iter.old_spte, new_spte, level, false);
  return iter.old_spte;
});

/** tdp_mmu_zap_leafs(): leaf entries only, so no table goes. True: the caller must flush. */
export const tdp_mmu_zap_leafs = fn(function* tdp_mmu_zap_leafs(
  kvm: Kvm,
  root: Page,
  start: number,
  end: number,
  can_yield: boolean,
): Steps<boolean> {
  let flush = false;
  yield* rcu_read_lock();
  const iter = yield* tdp_iter_start(kvm, root, start, end);
  yield* for_each_tdp_pte(iter, function* () {
    if (can_yield && (yield* tdp_mmu_iter_cond_resched(kvm, iter, flush, false))) {
      flush = false;
      return;
    }
    if (!is_shadow_present_pte(kvm, iter.old_spte)) return;
    if (!is_last_spte(kvm, iter.old_spte, iter.level)) return;
    yield* tdp_mmu_iter_set_spte(kvm, iter, nonpresent_spte(kvm, iter.level));
    flush = true;
  });
  yield* rcu_read_unlock();
  return flush;
});

/** kvm_tdp_mmu_unmap_gfn_range(), for a notifier that may block. mmu_lock is held for writing. */
export const kvm_tdp_mmu_unmap_gfn_range = fn(function* kvm_tdp_mmu_unmap_gfn_range(
  kvm: Kvm,
  start: number,
  end: number,
): Steps<boolean> {
  return yield* tdp_mmu_zap_leafs(kvm, kvm.root, start, end, true);
});

/**
 * zap_collapsible_spte_range(): removes the tables of a range whose memory the host maps by huge pages, so that
 * the guest's next faults map huge ones. mmu_lock is held for reading.
 */
export const zap_collapsible_spte_range = fn(function* zap_collapsible_spte_range(
  kvm: Kvm,
  root: Page,
  start: number,
  end: number,
): Steps<void> {
  const is_table = ({ old_spte, level }: TdpIter): boolean =>
    level === 1 && spte_to_child_pt(kvm, old_spte, level) !== null;
  yield* rcu_read_lock();
  const iter = yield* tdp_iter_start(kvm, root, start, end, 1);
  yield* for_each_tdp_pte(iter, function* () {
    if (yield* tdp_mmu_iter_cond_resched(kvm, iter, false, true)) return;
    // If somebody else was faster, there is another entry to judge.
    while (is_table(iter) && !(yield* tdp_mmu_zap_spte_atomic(kvm, iter)));
  });
  yield* rcu_read_unlock();
});

/** kvm_tdp_mmu_zap_sp(): unlinks the table that maps `gfn` and removes it. True: the caller must flush. */
export const kvm_tdp_mmu_zap_sp = fn(function* kvm_tdp_mmu_zap_sp(
  kvm: Kvm,
  gfn: number,
): Steps<boolean> {
  const ptep = sptep_at(kvm, kvm.root, 1, gfn); // sp->ptep
  const old_spte = yield* kvm_tdp_mmu_read_spte(ptep);
  if (!spte_to_child_pt(kvm, old_spte, 1)) return false;
  const nonpresent = nonpresent_spte(kvm, 1);
  yield* __kvm_tdp_mmu_write_spte(ptep, nonpresent);
  const base = gfn_round_for_level(kvm, gfn, 1);
  yield* handle_changed_spte(kvm, base, old_spte, nonpresent, 1, false);
  return true;
});

/** The end of a batch of removed tables: no vCPU uses them any more, then the section may end. */
export const end_of_batch = fn(
  function* end_of_batch(kvm: Kvm, flush: boolean): Steps<void> {
    if (flush) yield* kvm_flush_remote_tlbs(kvm);
    yield* rcu_read_unlock();
  },
  { hidden: true },
);

/**
 * kvm_recover_nx_huge_pages(): removes tables that were made only because huge pages may not be executed; the
 * next fault maps a huge page again. Tables of a tree of two levels.
 */
export const kvm_recover_nx_huge_pages = fn(function* kvm_recover_nx_huge_pages(
  kvm: Kvm,
  possible_nx_huge_pages: readonly number[],
): Steps<void> {
  let flush = false;
  yield* write_lock(kvm.mmu_lock);
  yield* rcu_read_lock();
  for (const gfn of possible_nx_huge_pages) {
    flush = (yield* kvm_tdp_mmu_zap_sp(kvm, gfn)) || flush;
    if (!(yield* rwlock_needbreak(kvm))) continue;
    yield* end_of_batch(kvm, flush);
    flush = false;
    yield* write_unlock(kvm.mmu_lock);
    yield* write_lock(kvm.mmu_lock);
    yield* rcu_read_lock();
  }
  yield* end_of_batch(kvm, flush);
  yield* write_unlock(kvm.mmu_lock);
});
