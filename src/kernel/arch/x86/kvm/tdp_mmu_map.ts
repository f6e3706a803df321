import { fn, leaf } from '../../../../machine/fn.ts';
import { STAGE } from '../../../../machine/stages.ts';
import { PAGE_SIZE, type Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { write_entry } from '../../../../machine/ops/memory.ts';
import { one_translation } from '../../../../machine/ops/one-translation.ts';
import { allocate_frame } from '../../../../machine/ops/pages.ts';
import { rcu_read_lock, rcu_read_unlock } from '../../../kernel/rcu.ts';
import { sptep_at } from '../../../virt/kvm/boot.ts';
import type { Kvm, PageFault, RetPf, Spte, Sptep, Vcpu } from '../../../virt/kvm/types.ts';
import { kvm_flush_remote_tlbs } from '../../../virt/kvm/vcpu.ts';
import {
  is_frozen_spte,
  is_shadow_present_pte,
  make_huge_page_split_spte,
  make_nonleaf_spte,
  make_spte,
  nonpresent_spte,
  spte_to_child_pt,
} from './spte.ts';
import { gfn_round_for_level, tdp_iter_next, tdp_iter_start, type TdpIter } from './tdp_iter.ts';
import { tdp_mmu_free_sp, tdp_mmu_set_spte_atomic, used_entries } from './tdp_mmu.ts';

/**
 * The TDP MMU: mapping a guest frame for a fault.
 *
 * Guarantee: the guest frame is mapped once, or the guest faults again. Mechanism: everything is installed by
 * compare-and-exchange from what the walk has seen, and a FROZEN entry is left alone. A new table is
 * initialised before it is published: another fault may map something in it at once.
 * Assumes: mmu_lock is held for reading, and no invalidation of the guest frame is in progress or has been
 * since its page was looked up.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (kvm_tdp_mmu_map, tdp_mmu_map_handle_target_level).
 */

export const tdp_mmu_alloc_sp = leaf(function* tdp_mmu_alloc_sp(
  kvm: Kvm,
  level: number,
): Steps<Page> {
  return yield* allocate_frame({ what: 'sp', level: kvm.stage * STAGE + level, recycle: true });
});

const init_spte = leaf(function* init_spte(sptep: Sptep, spte: Spte): Steps<void> {
  yield* write_entry(sptep, spte);
});

/** tdp_mmu_init_child_sp(): every entry of the new table says that nothing is mapped. */
export const tdp_mmu_init_child_sp = fn(function* tdp_mmu_init_child_sp(
  kvm: Kvm,
  sp: Page,
  level: number,
  gfn: number,
): Steps<void> {
  const base = gfn_round_for_level(kvm, gfn, level + 1);
  const nonpresent = nonpresent_spte(kvm, level);
  for (const each of used_entries(kvm, base, level)) {
    const sptep = sptep_at(kvm, sp, level, each);
    yield* init_spte(sptep, nonpresent);
  }
});

/** tdp_mmu_link_sp(): publishes a new table. */
export const tdp_mmu_link_sp = fn(function* tdp_mmu_link_sp(
  kvm: Kvm,
  iter: TdpIter,
  sp: Page,
): Steps<boolean> {
  return yield* tdp_mmu_set_spte_atomic(kvm, iter, make_nonleaf_spte(kvm, iter.level, sp));
});

/** tdp_mmu_split_huge_page(): every entry of the new table maps what the huge page did, and no flush is due. */
export const tdp_mmu_split_huge_page = fn(function* tdp_mmu_split_huge_page(
  kvm: Kvm,
  iter: TdpIter,
  sp: Page,
): Steps<boolean> {
  const level = iter.level - 1;
  const small = make_huge_page_split_spte(kvm, iter.old_spte, level);
  for (const gfn of used_entries(kvm, iter.gfn, level)) {
    const sptep = sptep_at(kvm, sp, level, gfn);
    yield* init_spte(sptep, small);
  }
  return yield* tdp_mmu_link_sp(kvm, iter, sp);
});

/** A new table below the entry where the walk is: first initialised, then published. */
export const tdp_mmu_add_sp = fn(
  function* tdp_mmu_add_sp(kvm: Kvm, iter: TdpIter): Steps<boolean> {
    const { gfn, level } = iter;
    const sp = yield* tdp_mmu_alloc_sp(kvm, level - 1);
    yield* tdp_mmu_init_child_sp(kvm, sp, level - 1, gfn);
    const linked = is_shadow_present_pte(kvm, iter.old_spte)
      ? yield* tdp_mmu_split_huge_page(kvm, iter, sp)
      : yield* tdp_mmu_link_sp(kvm, iter, sp);
    if (!linked) yield* tdp_mmu_free_sp(sp); // nobody has seen it
    return linked;
  },
  { hidden: true },
);

/** What is to be mapped for a fault. */
export interface FaultedPfn {
  readonly page: Page;
  /** The host's entry is writable. */
  readonly map_writable: boolean;
  /** The level that it is mapped at: 0, or 1 for a huge page. */
  readonly goal_level?: number;
}

/** tdp_mmu_map_handle_target_level(). */
export const tdp_mmu_map_handle_target_level = fn(function* tdp_mmu_map_handle_target_level(
  kvm: Kvm,
  { page, map_writable }: FaultedPfn,
  iter: TdpIter,
): Steps<RetPf> {
  const { level, old_spte } = iter;
  const new_spte = make_spte(kvm, level, page, { write: map_writable });
  if (new_spte.bits === old_spte.bits) return 'RET_PF_SPURIOUS';
  if (!(yield* tdp_mmu_set_spte_atomic(kvm, iter, new_spte))) return 'RET_PF_RETRY';
  const child = spte_to_child_pt(kvm, old_spte, level);
  if (child) yield* kvm_flush_remote_tlbs(kvm);
  yield* one_translation(kvm.root.frame, iter.sptep, new_spte, iter.gfn * PAGE_SIZE);
  return 'RET_PF_FIXED';
});

/** kvm_tdp_mmu_map(): maps a guest frame. mmu_lock is held for reading, and the fault is not stale. */
export const kvm_tdp_mmu_map = fn(function* kvm_tdp_mmu_map(
  vcpu: Vcpu,
  { gfn }: PageFault,
  pfn: FaultedPfn,
): Steps<RetPf> {
  const { kvm } = vcpu;
  const { goal_level = 0 } = pfn;
  let ret: RetPf = 'RET_PF_RETRY';
  yield* rcu_read_lock();
  const iter = yield* tdp_iter_start(kvm, kvm.root, gfn, gfn + 1);
  for (; iter.valid; yield* tdp_iter_next(iter)) {
    if (is_frozen_spte(iter.old_spte)) break; // somebody is changing it: the guest faults again
    if (iter.level === goal_level) {
      ret = yield* tdp_mmu_map_handle_target_level(kvm, pfn, iter);
      break;
    }
    if (spte_to_child_pt(kvm, iter.old_spte, iter.level)) continue;
    if (!(yield* tdp_mmu_add_sp(kvm, iter))) break;
  }
  yield* rcu_read_unlock();
  return ret;
});
