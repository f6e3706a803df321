import type { Machine } from '../../../../machine/machine.ts';
import type { Mm } from '../../../mm/types.ts';
import { kvm_tdp_page_fault } from '../../../virt/kvm/fault.ts';
import type { Kvm, KvmMmuOps } from '../../../virt/kvm/types.ts';
import { new_tdp_vm, type TdpVmOptions } from './tdp_boot.ts';
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

/** A virtual machine whose guest faults on the pages of `mm`: guest frame n is the page at n * PAGE_SIZE there. */
export function new_host_vm(machine: Machine, mm: Mm, options: Partial<TdpVmOptions> = {}): Kvm {
  return new_tdp_vm(machine, mm, 'kvm', tdp_mmu, { vcpus: ['CPU0'], tables_for: [0], ...options });
}
