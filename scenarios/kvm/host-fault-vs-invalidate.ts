// A guest faults while the host takes the page away: does KVM need a reference on what it maps?
// linux v6.12 virt/kvm/kvm_main.c (kvm_mmu_notifier_invalidate_range_start), arch/x86/kvm/mmu/mmu.c
// (is_page_fault_stale); specification of the secondary MMUs, sections 2.2 to 2.4.
import { fails, only, patch, returned, safe, scenario, type Machine, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  bump_invalidate_seq,
  drop_invalidate_in_progress,
  kvm_faultin_pfn,
  kvm_mmu_invalidate_end,
  kvm_tdp_mmu_map,
  madvise_dontneed,
  mmu_invalidate_covers,
  mmu_invalidate_retry_gfn,
  mmu_invalidate_seq_changed,
  new_host_vm,
  new_mm,
  new_page,
  vcpu_enter_guest,
  vcpu_faults_once,
  type Kvm,
  type Mm,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const FAULT = { gfn: 0, write: true, present: false };

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
}

const GOES_ON = ['correct', 'sequence only', 'count only', 'count before sequence'];

function* no(): Steps<boolean> {
  return false;
}

export default scenario<State>('host-fault-vs-invalidate', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  // No CPU runs the address space: whoever flushes it sends no interrupt that could hide anything.
  setup(m: Machine) {
    const pages = { [HVA]: new_page(m, 'P'), [HVA + PAGE_SIZE]: new_page(m, 'Q') };
    const mm = new_mm(m, 'mm', pages, { on: [] });
    return { mm, kvm: new_host_vm(m, mm) };
  },

  run: {
    CPU0: ({ kvm }) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    CPU1: ({ mm }) => madvise_dontneed(mm, HVA, PAGE_SIZE), // through the hooks of the primary MMU
  },

  sometimes: {
    'the page is mapped': returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    'the guest stores to it': only(GOES_ON, returned(vcpu_enter_guest, true)),
    'the fault is to be tried again': returned(mmu_invalidate_retry_gfn, true),
    'the page is gone': returned(kvm_faultin_pfn, 'RET_PF_EMULATE'),
  },

  variants: {
    correct: safe(),
    // K1: nobody is told that an invalidation is going on; the page is freed behind its start.
    'sequence only': fails(['stale-translation', 'use-after-free', 'property'], {
      shows: ['K1'],
      patches: [patch(mmu_invalidate_covers, no)],
    }),
    // K2: the invalidation is over by the time the count is looked at.
    'count only': fails(['stale-translation', 'use-after-free'], {
      shows: ['K2'],
      patches: [patch(mmu_invalidate_seq_changed, no)],
    }),
    // The same, and the guest does not go on: the entry alone is wrong, because some guest may use it any time.
    'count only, no guest': fails('stale-translation', {
      shows: ['K2'],
      run: {
        CPU0: ({ kvm }) => kvm.mmu.page_fault(kvm.vcpus[0] as Vcpu, FAULT),
        CPU1: ({ mm }) => madvise_dontneed(mm, HVA, PAGE_SIZE),
      },
      patches: [patch(mmu_invalidate_seq_changed, no)],
    }),
    // K4: whoever holds mmu_lock sees both or neither, so the order of the two is free.
    'count before sequence': safe({
      shows: ['K4'],
      patches: [
        patch(kvm_mmu_invalidate_end, function* (kvm) {
          yield* drop_invalidate_in_progress(kvm);
          yield* bump_invalidate_seq(kvm);
        }),
      ],
    }),
  },
});
