import { kvm_tdp_page_fault } from '../../../virt/kvm/fault.ts';
import type { KvmMmuOps } from '../../../virt/kvm/types.ts';
import { kvm_tdp_mmu_age_gfn_range_lockless } from './tdp_mmu_age.ts';
import { kvm_tdp_mmu_map } from './tdp_mmu_map.ts';
import { kvm_tdp_mmu_unmap_gfn_range } from './tdp_mmu_zap.ts';

/**
 * The TDP MMU behind virt/kvm's faults: the page comes from the process's tables, without a lock, and is mapped
 * if no invalidation has come between.
 */
export const tdp_mmu: KvmMmuOps = Object.freeze({
  page_fault: (vcpu, fault) => kvm_tdp_page_fault(vcpu, fault, kvm_tdp_mmu_map),
  unmap_gfn_range: (kvm, start, end) => kvm_tdp_mmu_unmap_gfn_range(kvm, start, end),
  age_gfn: (kvm, start, end, clear) => kvm_tdp_mmu_age_gfn_range_lockless(kvm, start, end, clear),
} satisfies KvmMmuOps);
