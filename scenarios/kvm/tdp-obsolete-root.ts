// A guest faults while all of its mappings are given up, as it happens when a memslot is deleted: its root is made
// invalid and taken apart once, and nobody looks at it any more.
// linux v6.12 arch/x86/kvm/mmu/mmu.c (is_page_fault_stale, is_obsolete_sp), commit a955cad84cda (the id is from
// memory); specification of the secondary MMUs, sections 2.3 and 3.2.
import { fails, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  is_obsolete_root,
  kvm_mmu_free_obsolete_roots,
  kvm_mmu_zap_all_fast,
  kvm_tdp_mmu_map,
  kvm_tdp_mmu_put_root,
  new_host_vm,
  new_mm,
  new_page,
  new_tdp_roots,
  tdp_mmu_zap_root,
  type TdpRoots,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const FAULT = { gfn: 0, write: true, present: false };

interface State {
  readonly roots: TdpRoots;
}

export default scenario<State>('tdp-obsolete-root', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', { [HVA]: new_page(m, 'P') }, { on: [] });
    return { roots: new_tdp_roots(new_host_vm(m, mm), 1) };
  },

  run: {
    // The vCPU has loaded the root that is given up; when it hears of that it drops its reference.
    *CPU0({ roots }) {
      yield* roots.kvm.mmu.page_fault(roots.kvm.vcpus[0] as Vcpu, FAULT);
      yield* kvm_mmu_free_obsolete_roots(roots);
    },
    CPU1: ({ roots }) => kvm_mmu_zap_all_fast(roots),
  },

  sometimes: {
    'the page is mapped': returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    'the fault finds the root given up': only(
      ['the fault asks for its root'],
      returned(is_obsolete_root, true),
    ),
    'the root is taken apart': returned(tdp_mmu_zap_root, undefined),
    'the root is freed': returned(kvm_tdp_mmu_put_root, undefined),
  },

  variants: {
    'the fault asks for its root': safe({ shows: ['K15'] }),
    // K15: the page is mapped in a root that has been zapped: when the last reference on the root goes, nobody looks
    // for entries any more, and the table with this one is left behind.
    'the fault does not ask': fails('leak', {
      shows: ['K15'],
      patches: [
        patch(is_obsolete_root, function* () {
          return false;
        }),
      ],
    }),
  },
});
