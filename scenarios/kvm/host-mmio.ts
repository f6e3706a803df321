// The guest has registers of a device mapped, and their owner takes them back. Such frames have no struct page:
// the thread about mmu notifiers of April 2008 decided that they belong into the reverse map all the same.
// linux v6.12 virt/kvm/kvm_main.c (hva_to_pfn_remapped), arch/x86/kvm/mmu/mmu.c (rmap_add); specification of
// the secondary MMUs, sections 1.1 and 2.8. The shadow MMU: the TDP MMU finds entries by guest frame.
import { fails, fn, patch, returned, safe, scenario, type Machine, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  folio_put,
  free_frame,
  kvm_pfn_to_refcounted_page,
  new_device_frame,
  try_grab_folio_fast,
  invalidating,
  kvm_unmap_gfn_range,
  leaf_at,
  mmu_invalidate_retry_gfn,
  mmu_set_spte,
  new_mm,
  new_shadow_vm,
  pte_list_add,
  pte_off,
  pte_page,
  ptep_clear_flush,
  ptep_get,
  shadow_mmu_ops,
  smp_rmb,
  vcpu_enter_guest,
  vcpu_faults_once,
  write_lock,
  write_unlock,
  type Kvm,
  type Mm,
  type Page,
  type Ptep,
  type RetPf,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const GFN = 0;

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly ptep: Ptep;
  /** The registers: a frame of which nobody can have a reference. */
  readonly BAR: Page;
}

/** direct_page_fault() where the process's entry leads to no page: the frame is in the entry, and that is all. */
const map_pfn = fn(function* direct_page_fault({ kvm }: Vcpu, ptep: Ptep): Steps<RetPf> {
  const mmu_seq = yield* READ_ONCE(kvm.mmu_invalidate_seq);
  yield* smp_rmb();
  const pte = yield* ptep_get(ptep); // hva_to_pfn_remapped()
  if (!pte.present) return 'RET_PF_EMULATE';
  const page = yield* kvm_pfn_to_refcounted_page(kvm, pte_page(pte));
  if (page && !(yield* try_grab_folio_fast(page, null))) return 'RET_PF_RETRY';
  yield* write_lock(kvm.mmu_lock);
  const stale = yield* mmu_invalidate_retry_gfn(kvm, mmu_seq, GFN);
  if (!stale) yield* mmu_set_spte(kvm, leaf_at(kvm, GFN), pte_page(pte), true);
  yield* write_unlock(kvm.mmu_lock);
  if (page) yield* folio_put(page); // kvm_release_pfn_clean()
  return stale ? 'RET_PF_RETRY' : 'RET_PF_FIXED';
});

export default scenario<State>('host-mmio', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const BAR = new_device_frame(m, 'BAR');
    const mm = new_mm(m, 'mm', { [HVA]: BAR }, { on: [] });
    const ptep = pte_off(m, mm, HVA);
    const mmu = shadow_mmu_ops((vcpu) => map_pfn(vcpu, ptep));
    const kvm = new_shadow_vm(m, mm, 'kvm', mmu, { vcpus: ['CPU0'], tables_for: [GFN] });
    return { mm, kvm, ptep, BAR };
  },

  run: {
    CPU0: ({ kvm }) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    // unmap_mapping_range() by the driver; then the registers are somebody else's.
    *CPU1({ mm, kvm, ptep, BAR }) {
      yield* invalidating(kvm, HVA, PAGE_SIZE, () => ptep_clear_flush(mm, HVA, ptep));
      yield* free_frame(BAR);
    },
  },

  sometimes: {
    'the guest stores to a register': returned(vcpu_enter_guest, true),
    'the entry is found and removed': returned(kvm_unmap_gfn_range, true),
    'the fault is to be tried again': returned(mmu_invalidate_retry_gfn, true),
  },

  variants: {
    'in the reverse map': safe({ shows: ['K18'] }),
    // K18: the notifier asks the reverse map, which knows of pages only.
    'not in the reverse map': fails(['property', 'stale-translation', 'use-after-free'], {
      shows: ['K18'],
      patches: [patch(pte_list_add, function* () {})],
    }),
    // K18': the frame has no struct page, and what is written as its count is somebody else's memory.
    'pfn_to_page() of a register': fails('refcount', {
      shows: ['K18'],
      patches: [
        patch(kvm_pfn_to_refcounted_page, function* (_kvm, page) {
          return page;
        }),
      ],
    }),
  },
});
