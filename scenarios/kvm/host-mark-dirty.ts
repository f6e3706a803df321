// When may a fault still write to the struct page of what it has mapped?
// linux v6.13 virt/kvm/kvm_main.c (kvm_release_faultin_page), v6.12 arch/arm64/kvm/mmu.c (user_mem_abort);
// specification of the secondary MMUs, section 2.3, step 9.
import { fails, patch, returned, safe, scenario, type Machine, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  folio_put,
  kvm_faultin_pfn,
  kvm_set_page_dirty,
  kvm_tdp_mmu_map,
  kvm_tdp_page_fault,
  madvise_dontneed,
  mmu_invalidate_retry_gfn,
  new_host_vm,
  new_mm,
  new_page,
  read_lock,
  read_unlock,
  vcpu_faults_once,
  type FaultinPage,
  type Kvm,
  type MapFault,
  type Mm,
  type PageFault,
  type RetPf,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
}

/** The fault without what it does with the reference in the end, which `last` does behind mmu_lock. */
function fault_then(last: (kvm: Kvm, found: FaultinPage, dirty: boolean) => Steps<void>) {
  return function* (vcpu: Vcpu, fault: PageFault, map: MapFault): Steps<RetPf> {
    const { kvm } = vcpu;
    const found = yield* kvm_faultin_pfn(vcpu, fault);
    if (typeof found === 'string') return found;
    yield* read_lock(kvm.mmu_lock);
    const stale = yield* mmu_invalidate_retry_gfn(kvm, found.mmu_seq, found.gfn);
    const ret = stale ? 'RET_PF_RETRY' : yield* map(vcpu, fault, found);
    yield* read_unlock(kvm.mmu_lock);
    yield* last(kvm, found, ret !== 'RET_PF_RETRY');
    return ret;
  };
}

export default scenario<State>('host-mark-dirty', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const pages = { [HVA]: new_page(m, 'P'), [HVA + PAGE_SIZE]: new_page(m, 'Q') };
    const mm = new_mm(m, 'mm', pages, { on: [] });
    return { mm, kvm: new_host_vm(m, mm) };
  },

  run: {
    CPU0: ({ kvm }) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    CPU1: ({ mm }) => madvise_dontneed(mm, HVA, PAGE_SIZE),
  },

  sometimes: {
    'the page is mapped': returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    'the fault is to be tried again': returned(mmu_invalidate_retry_gfn, true),
  },

  variants: {
    'under mmu_lock': safe({ shows: ['K12'] }),
    'behind mmu_lock, with the reference': safe({
      shows: ['K12'],
      patches: [
        patch(
          kvm_tdp_page_fault,
          fault_then(function* (kvm, { page }, dirty) {
            if (dirty) yield* kvm_set_page_dirty(kvm, page);
            yield* folio_put(page);
          }),
        ),
      ],
    }),
    // K12: neither the lock nor the reference keeps the page any more.
    'behind both': fails('use-after-free', {
      shows: ['K12'],
      patches: [
        patch(
          kvm_tdp_page_fault,
          fault_then(function* (kvm, { page }, dirty) {
            yield* folio_put(page);
            if (dirty) yield* kvm_set_page_dirty(kvm, page);
          }),
        ),
      ],
    }),
  },
});
