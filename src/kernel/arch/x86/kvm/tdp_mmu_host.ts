import { SPTE_MASKS } from '../../../../arch/kvm-spte-masks.ts';
import type { Machine } from '../../../../machine/machine.ts';
import type { Page } from '../../../../machine/memory.ts';
import { stageNamed } from '../../../../machine/stages.ts';
import type { Mm } from '../../../mm/types.ts';
import { new_vm } from '../../../virt/kvm/boot.ts';
import { kvm_tdp_page_fault } from '../../../virt/kvm/fault.ts';
import type { Kvm, KvmMmuOps, Memslots } from '../../../virt/kvm/types.ts';
import { make_spte } from './spte.ts';
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

/** What a scenario about the host's side says of its virtual machine. */
export interface HostVmOptions {
  /** The CPUs that the threads of its vCPUs run on; CPU0 if not said. */
  readonly vcpus?: readonly string[];
  /** Its sets of slots; one slot of one page if not said. */
  readonly memslots?: readonly Memslots[];
  readonly gpcs?: readonly number[];
  /** Guest frames that are mapped already, writable; each has been used by every vCPU. */
  readonly mapped?: Readonly<Record<number, Page>>;
}

/** A virtual machine with EPT tables (the first kind), whose leaf table is there: guest frame n is the page at n * PAGE_SIZE in `mm`. */
export function new_host_vm(machine: Machine, mm: Mm, options: HostVmOptions = {}): Kvm {
  const [tables = ''] = Object.keys(SPTE_MASKS);
  const { vcpus = ['CPU0'], gpcs = [], mapped = {}, memslots = [[ONE_PAGE]] } = options;
  const of = { machine, tables, stage: stageNamed(machine.arch, tables) } as Kvm;
  const bits = (page: Page): bigint => make_spte(of, 0, page, { write: true }).bits;
  return new_vm(machine, mm, 'kvm', tdp_mmu, {
    vcpus,
    tables,
    gpcs,
    memslots,
    tables_for: [0],
    links: SPTE_MASKS[tables]?.present ?? 0n,
    mapped: Object.fromEntries(
      Object.entries(mapped).map(([gfn, page]) => [gfn, { page, bits: bits(page) }]),
    ),
  });
}

const ONE_PAGE = { id: 0, base_gfn: 0, npages: 1, userspace_addr: 0 };
