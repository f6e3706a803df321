import { fn } from '../../../../machine/fn.ts';
import type { Steps } from '../../../../machine/op.ts';
import { read_lock, read_unlock } from '../../../../machine/ops/locks.ts';
import { READ_ONCE } from '../../../../machine/ops/memory.ts';
import { smp_rmb } from '../../../../machine/ops/store-buffer.ts';
import type { Kvm, KvmMmuOps, PageFault, RetPf, Vcpu } from '../../../virt/kvm/types.ts';
import { kvm_tdp_mmu_map, type FaultedPfn } from './tdp_mmu_map.ts';
import { kvm_tdp_mmu_age_gfn_range_lockless } from './tdp_mmu_age.ts';
import { kvm_tdp_mmu_unmap_gfn_range } from './tdp_mmu_zap.ts';

/**
 * A fault of the guest on the TDP MMU: what it maps is found without mmu_lock and mapped with mmu_lock held for
 * reading, if no invalidation has come between.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (kvm_tdp_mmu_page_fault, is_page_fault_stale).
 */
export type FaultinPfn = (vcpu: Vcpu, fault: PageFault) => Steps<FaultedPfn | null>;

/** is_page_fault_stale(): an invalidation is in progress, or was since the page was looked up. */
export const is_page_fault_stale = fn(function* is_page_fault_stale(
  kvm: Kvm,
  mmu_seq: number,
): Steps<boolean> {
  if ((yield* READ_ONCE(kvm.mmu_invalidate_in_progress)) !== 0) return true;
  return (yield* READ_ONCE(kvm.mmu_invalidate_seq)) !== mmu_seq;
});

export const kvm_tdp_mmu_page_fault = fn(function* kvm_tdp_mmu_page_fault(
  vcpu: Vcpu,
  fault: PageFault,
  kvm_faultin_pfn: FaultinPfn,
): Steps<RetPf> {
  const { kvm } = vcpu;
  const mmu_seq = yield* READ_ONCE(kvm.mmu_invalidate_seq);
  yield* smp_rmb();
  const pfn = yield* kvm_faultin_pfn(vcpu, fault);
  if (!pfn) return 'RET_PF_EMULATE';
  let r: RetPf = 'RET_PF_RETRY';
  yield* read_lock(kvm.mmu_lock);
  if (!(yield* is_page_fault_stale(kvm, mmu_seq))) r = yield* kvm_tdp_mmu_map(vcpu, fault, pfn);
  yield* read_unlock(kvm.mmu_lock);
  return r;
});

/** The TDP MMU, for virt/kvm; `kvm_faultin_pfn` finds the page of a guest frame. */
export function tdp_mmu_ops(kvm_faultin_pfn: FaultinPfn): KvmMmuOps {
  return {
    page_fault: (vcpu, fault) => kvm_tdp_mmu_page_fault(vcpu, fault, kvm_faultin_pfn),
    unmap_gfn_range: (kvm, start, end) => kvm_tdp_mmu_unmap_gfn_range(kvm, start, end),
    age_gfn: (kvm, start, end, clear) => kvm_tdp_mmu_age_gfn_range_lockless(kvm, start, end, clear),
  };
}
