// The first form of KVM's notifier, with invalidate_page(): Andrea Arcangeli's patches of April 2008.
// mmu notifier #v14 and #v15 with KVM's part; specification of the secondary MMUs, section 1.1.
// The process's entry is gone when invalidate_page() is called, and the page is freed when it has returned.
import { fails, fn, patch, returned, safe, scenario, type Machine, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  bump_invalidate_seq,
  folio_put,
  kvm_flush_remote_tlbs,
  kvm_tdp_mmu_map,
  mmu_invalidate_seq_changed,
  new_host_vm,
  new_mm,
  new_page,
  pte_off,
  ptep_clear_flush,
  vcpu_enter_guest,
  vcpu_faults_once,
  write_lock,
  write_unlock,
  type Kvm,
  type Mm,
  type Page,
  type Ptep,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const GFN = 0;

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly ptep: Ptep;
  readonly P: Page;
}

/** kvm_mmu_notifier_invalidate_page(), 2008. It may flush behind the unlock, as only notifiers may. */
const invalidate_page = fn(function* kvm_mmu_notifier_invalidate_page(kvm: Kvm): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  yield* bump_invalidate_seq(kvm);
  const flush = yield* kvm.mmu.unmap_gfn_range(kvm, GFN, GFN + 1);
  yield* write_unlock(kvm.mmu_lock);
  if (flush) yield* kvm_flush_remote_tlbs(kvm);
});

export default scenario<State>('host-2008', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const P = new_page(m, 'P');
    const mm = new_mm(m, 'mm', { [HVA]: P }, { on: [] });
    return { mm, P, ptep: pte_off(m, mm, HVA), kvm: new_host_vm(m, mm) };
  },

  run: {
    CPU0: ({ kvm }) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    *CPU1({ mm, kvm, ptep, P }) {
      yield* ptep_clear_flush(mm, HVA, ptep); // ptep_clear_flush_notify()
      yield* invalidate_page(kvm);
      yield* folio_put(P);
    },
  },

  sometimes: {
    'the page is mapped': returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    'the guest stores to it': returned(vcpu_enter_guest, true),
    'the fault is to be tried again': returned(mmu_invalidate_seq_changed, true),
  },

  variants: {
    'sequence before the unlock': safe({ shows: ['K17'] }),
    // K17: the fault comes between the unlock and the sequence.
    'sequence after the unlock': fails(['stale-translation', 'use-after-free'], {
      shows: ['K17'],
      patches: [
        patch(invalidate_page, function* (kvm) {
          yield* write_lock(kvm.mmu_lock);
          const flush = yield* kvm.mmu.unmap_gfn_range(kvm, GFN, GFN + 1);
          yield* write_unlock(kvm.mmu_lock);
          yield* bump_invalidate_seq(kvm);
          if (flush) yield* kvm_flush_remote_tlbs(kvm);
        }),
      ],
    }),
  },
});
