// The host takes write permission away, and no page: does a fault of the guest have to care?
// linux v6.12 include/linux/kvm_host.h (mmu_invalidate_retry_gfn), mm/userfaultfd.c (mwriteprotect_range);
// specification of the secondary MMUs, K20. The same goes for fork() and KSM.
import { fails, nop, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  bug_on,
  bump_invalidate_seq,
  invalidating,
  kvm_faultin_pfn,
  kvm_tdp_mmu_map,
  memcpy_from_page,
  mmu_invalidate_retry_gfn,
  mwriteprotect_range,
  new_host_vm,
  new_mm,
  new_page,
  vcpu_enter_guest,
  vcpu_faults_once,
  type Kvm,
  type Mm,
  type Page,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly P: Page;
}

export default scenario<State>('host-write-protect', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const P = new_page(m, 'P');
    const mm = new_mm(m, 'mm', { [HVA]: P }, { on: [] });
    return { mm, P, kvm: new_host_vm(m, mm) };
  },

  run: {
    CPU0: ({ kvm }) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    // Who write-protects a page to save it expects that it stays as it is.
    *CPU1({ mm, kvm, P }) {
      yield* invalidating(kvm, HVA, PAGE_SIZE, () => mwriteprotect_range(mm, HVA));
      const saved = yield* memcpy_from_page(P, 0);
      const now = yield* memcpy_from_page(P, 0);
      yield* bug_on(saved !== now, 'P', 'P is write-protected, and the guest has stored to it.');
    },
  },

  sometimes: {
    'the page is mapped': returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    'the guest stores to it': returned(vcpu_enter_guest, true),
    'the fault is to be tried again': returned(mmu_invalidate_retry_gfn, true),
    'the page may not be written': returned(kvm_faultin_pfn, 'RET_PF_EMULATE'),
  },

  variants: {
    'counts as an invalidation': safe({ shows: ['K20'] }),
    // K20: the page is still the one that was found; what has changed is that it may be written.
    'does not change the sequence': fails('property', {
      shows: ['K20'],
      patches: [patch(bump_invalidate_seq, nop)],
    }),
  },
});
