// A table of small pages is removed so that the guest's next fault maps a huge one, with mmu_lock held for
// reading: faults go on beside it.  When the entry is free, does nobody use any more what it said?
// Small and huge translations of one address at once are what the machine check of CVE-2018-12207 needs.
// linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (zap_collapsible_spte_range, tdp_mmu_zap_spte_atomic).
import { fails, fn, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  __tdp_mmu_set_spte_atomic,
  handle_changed_spte,
  kvm_flush_remote_tlbs,
  kvm_tdp_mmu_map,
  new_mm,
  new_page,
  new_tdp_vm,
  nonpresent_spte,
  read_lock,
  read_unlock,
  tdp_mmu_zap_spte_atomic,
  hv_flush_remote_tlbs,
  kvm_x86_vcpu_run,
  zap_collapsible_spte_range,
  type Kvm,
  type Page,
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly vcpu: Vcpu;
  readonly X: Page;
}

/** The guest's memory is mapped by a small page; the host has a huge one there by now. */
const guest =
  (tables: string) =>
  (m: Machine): State => {
    const X = new_page(m, 'X', 1);
    const mm = new_mm(m, 'mm', {}, { on: [], tables: [0] });
    const kvm = new_tdp_vm(m, mm, 'kvm', { vcpus: ['CPU0'], tables, mapped: { 0: X } });
    return { kvm, vcpu: kvm.vcpus[0] as Vcpu, X };
  };

const remove_table = fn(function* kvm_mmu_zap_collapsible_sptes({ kvm }: State) {
  yield* read_lock(kvm.mmu_lock);
  yield* zap_collapsible_spte_range(kvm, kvm.root, 0, 1);
  yield* read_unlock(kvm.mmu_lock);
});

/** Another vCPU has faulted on the frame, and its page is huge. */
const page_fault = fn(function* direct_page_fault({ kvm, vcpu, X }: State) {
  yield* read_lock(kvm.mmu_lock);
  const fault = { gfn: 0, write: true, present: false };
  const r = yield* kvm_tdp_mmu_map(vcpu, fault, { page: X, map_writable: true, goal_level: 1 });
  yield* read_unlock(kvm.mmu_lock);
  return r;
});

/** The entry is free at once, and flushed later. */
const CLEAR_THEN_FLUSH = patch(tdp_mmu_zap_spte_atomic, function* (kvm, iter) {
  const { gfn, level, old_spte } = iter;
  const nonpresent = nonpresent_spte(kvm, level);
  if (!(yield* __tdp_mmu_set_spte_atomic(iter, nonpresent))) return false;
  yield* kvm_flush_remote_tlbs(kvm);
  yield* handle_changed_spte(kvm, gfn, old_spte, nonpresent, level, true);
  return true;
});

/** The TDP MMU counts on no interrupt, so a hypercall will do: it is one step where requests to vCPUs are many. */
const HYPERV = patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs);

export default scenario<State>('tdp-zap-vs-fault', {
  machine: x86_64({ cpus: 3 }),
  setup: guest('ept'),

  run: {
    CPU0: ({ vcpu }) => kvm_x86_vcpu_run(vcpu, { gpa: 0 }),
    CPU1: remove_table,
    CPU2: page_fault,
  },

  sometimes: {
    'the fault meets the frozen entry, or loses': returned(page_fault, 'RET_PF_RETRY'),
    'the huge page is mapped': returned(page_fault, 'RET_PF_FIXED'),
    'the table is removed': returned(tdp_mmu_zap_spte_atomic, true),
  },

  variants: {
    'freeze, flush, clear': safe({ patches: [HYPERV] }),
    'freeze, flush, clear, npt': safe({ setup: guest('npt'), patches: [HYPERV] }),
    'clear, flush': fails('property', { shows: ['X8'], patches: [CLEAR_THEN_FLUSH, HYPERV] }),
  },
});
