// Who removes an entry of KVM's must flush before dropping mmu_lock, unless it is a notifier: the rule of
// Andrea Arcangeli's mail of 26 April 2008 ("mmu notifier-core v14->v15 diff for review").
// linux v6.12 virt/kvm/kvm_main.c; specification of the secondary MMUs, sections 1.1 and 2.5.
import { entered, fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  kvm_arch_flush_shadow_memslot,
  kvm_flush_remote_tlbs,
  kvm_mmu_invalidate_begin,
  kvm_handle_hva_range,
  kvm_mmu_invalidate_end,
  kvm_mmu_notifier_invalidate_range_end,
  kvm_mmu_unmap_gfn_range,
  kvm_mmu_notifier_invalidate_range_start,
  kvm_tdp_mmu_unmap_gfn_range,
  kvm_vcpu_flush_tlb_current,
  madvise_dontneed,
  new_host_vm,
  new_mm,
  new_page,
  vcpu_enter_guest,
  vcpu_never_faults,
  write_lock,
  write_unlock,
  type Kvm,
  type Mm,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const SLOT = { id: 0, base_gfn: 0, npages: 1, userspace_addr: HVA };

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
}

export default scenario<State>('host-flush-rule', {
  machine: x86_64({ cpus: 3 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const P = new_page(m, 'P');
    const mm = new_mm(m, 'mm', { [HVA]: P, [HVA + PAGE_SIZE]: new_page(m, 'Q') }, { on: [] });
    return { mm, kvm: new_host_vm(m, mm, { memslots: [[SLOT]], mapped: { 0: P } }) };
  },

  run: {
    CPU0: ({ kvm }) => vcpu_never_faults(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    CPU1: ({ kvm }) => kvm_arch_flush_shadow_memslot(kvm, SLOT),
    CPU2: ({ mm }) => madvise_dontneed(mm, HVA, PAGE_SIZE),
  },

  sometimes: {
    'the guest stores to the page': returned(vcpu_enter_guest, true),
    'the guest is told to flush': entered('CPU0', kvm_vcpu_flush_tlb_current),
    'the notifier finds nothing to remove': returned(kvm_tdp_mmu_unmap_gfn_range, false),
  },

  variants: {
    'flush before the unlock': safe({ shows: ['K10'] }),
    // A notifier that is alone may put it off: the page is not freed before it returns (two: two-notifiers).
    'notifier flushes after the unlock': safe({
      patches: [
        patch(kvm_mmu_notifier_invalidate_range_start, function* (kvm, start, end) {
          const { ret } = yield* kvm_handle_hva_range(kvm, {
            start,
            end,
            on_lock: kvm_mmu_invalidate_begin,
            handler: kvm_mmu_unmap_gfn_range,
          });
          if (ret) yield* kvm_flush_remote_tlbs(kvm);
        }),
        patch(kvm_mmu_notifier_invalidate_range_end, function* (kvm, start, end) {
          yield* kvm_handle_hva_range(kvm, { start, end, on_lock: kvm_mmu_invalidate_end });
        }),
      ],
    }),
    // K10: the notifier finds the entry gone, takes it for flushed, and the page is freed.
    'flush after the unlock': fails(['stale-translation', 'use-after-free', 'property'], {
      shows: ['K10'],
      patches: [
        patch(kvm_arch_flush_shadow_memslot, function* (kvm, { base_gfn, npages }) {
          yield* write_lock(kvm.mmu_lock);
          const flush = yield* kvm.mmu.unmap_gfn_range(kvm, base_gfn, base_gfn + npages);
          yield* write_unlock(kvm.mmu_lock);
          if (flush) yield* kvm_flush_remote_tlbs(kvm);
        }),
      ],
    }),
  },
});
