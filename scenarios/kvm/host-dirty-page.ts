// A guest stores to a page of a file, and the host reclaims the page: is it written back first?
// The entry that the guest stores through is KVM's, and so is its dirty mark: v6.12 gives it to the page when the
// entry goes (arch/x86/kvm/mmu/tdp_mmu.c, handle_changed_spte), v6.13 when the entry is made (virt/kvm/kvm_main.c,
// kvm_release_faultin_page). Specification of the secondary MMUs, sections 0 (S4) and 2.3.
import { fails, nop, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  kvm_set_page_dirty,
  tdp_set_pfn_dirty,
  kvm_tdp_mmu_map,
  new_file,
  new_host_vm,
  new_mm,
  new_page_of_file,
  on_disk,
  shrink_folio_list,
  vcpu_enter_guest,
  vcpu_faults_once,
  vcpu_never_faults,
  type Kvm,
  type Mm,
  type Page,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const STORE = { gpa: 0, value: 100n };

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly P: Page;
}

const setup =
  (isMapped: boolean) =>
  (m: Machine): State => {
    const file = new_file(m, 'F', { shmem: false });
    const P = on_disk(m, new_page_of_file(m, 'P', file));
    const mm = new_mm(m, 'mm', { [HVA]: P }, { on: [], rwsem: file.i_mmap_rwsem });
    return { mm, P, kvm: new_host_vm(m, mm, isMapped ? { mapped: { 0: P } } : {}) };
  };

/** The guest has no entry yet. */
const FAULTS = {
  setup: setup(false),
  run: {
    CPU0: ({ kvm }: State) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, STORE),
    CPU1: ({ mm, P }: State) => shrink_folio_list(mm, P),
  },
};

/** v6.13: an entry that goes says nothing to the page any more. */
const NOT_AT_THE_ZAP = patch(tdp_set_pfn_dirty, nop);

export default scenario<State>('host-dirty-page', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup: setup(true),

  run: {
    CPU0: ({ kvm }) => vcpu_never_faults(kvm.vcpus[0] as Vcpu, STORE),
    CPU1: ({ mm, P }) => shrink_folio_list(mm, P),
  },

  sometimes: {
    'the guest stores to the page': returned(vcpu_enter_guest, true),
    'reclaim leaves it alone': only(
      ['marked when the entry goes', 'marked when the entry is made'],
      returned(shrink_folio_list, false),
    ),
    'the page is mapped': only(
      ['marked when the entry is made', 'marked by neither'],
      returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    ),
  },

  variants: {
    'marked when the entry goes': safe(),
    // S4: the last who knows of the store forgets it.
    'not marked when the entry goes': fails('lost-write', { patches: [NOT_AT_THE_ZAP] }),
    'marked when the entry is made': safe({ ...FAULTS, patches: [NOT_AT_THE_ZAP] }),
    // S4: the store is in no dirty mark at all.
    'marked by neither': fails('lost-write', {
      ...FAULTS,
      patches: [NOT_AT_THE_ZAP, patch(kvm_set_page_dirty, nop)],
    }),
  },
});
