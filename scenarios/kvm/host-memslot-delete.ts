// A memslot is deleted while the guest faults in it; later the host frees the page, and no slot leads to KVM.
// linux v6.12 virt/kvm/kvm_main.c (kvm_set_memslot, kvm_invalidate_memslot); specification of the secondary
// MMUs, section 2.7.
import {
  fails,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  kvm_delete_memslot,
  kvm_faultin_pfn,
  kvm_memslot_is_invalid,
  kvm_tdp_mmu_map,
  kvm_tdp_mmu_unmap_gfn_range,
  madvise_dontneed,
  new_host_vm,
  new_mm,
  new_page,
  synchronize_srcu,
  vcpu_faults_once,
  type Kvm,
  type Mm,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const SLOT = { id: 0, base_gfn: 0, npages: 1, userspace_addr: HVA };
const [VALID, INVALID, DELETED] = [0, 1, 2];

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
}

function* no(): Steps<boolean> {
  return false;
}

export default scenario<State>('host-memslot-delete', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const pages = { [HVA]: new_page(m, 'P'), [HVA + PAGE_SIZE]: new_page(m, 'Q') };
    const mm = new_mm(m, 'mm', pages, { on: [] });
    const sets = { [VALID]: [SLOT], [INVALID]: [{ ...SLOT, invalid: true }], [DELETED]: [] };
    return { mm, kvm: new_host_vm(m, mm, { memslots: Object.values(sets) }) };
  },

  run: {
    CPU0: ({ kvm }) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    *CPU1({ mm, kvm }) {
      yield* kvm_delete_memslot(kvm, SLOT, INVALID, DELETED);
      yield* madvise_dontneed(mm, HVA, PAGE_SIZE);
    },
  },

  sometimes: {
    'the page is mapped': returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    'the entry is removed with the slot': returned(kvm_tdp_mmu_unmap_gfn_range, true),
    'the slot is going': only(['correct'], returned(kvm_faultin_pfn, 'RET_PF_RETRY')),
    'the slot is gone': returned(kvm_faultin_pfn, 'RET_PF_EMULATE'),
  },

  variants: {
    correct: safe({ shows: ['K15'] }),
    // K15: the slot's entries have been removed, and one comes after that.
    'an invalid slot is used': fails(['stale-translation', 'use-after-free'], {
      shows: ['K15'],
      patches: [patch(kvm_memslot_is_invalid, no)],
    }),
    // K15: the fault has found the valid slot, and nobody waits for it.
    'no grace period': fails(['stale-translation', 'use-after-free'], {
      shows: ['K15'],
      patches: [patch(synchronize_srcu, nop)],
    }),
  },
});
