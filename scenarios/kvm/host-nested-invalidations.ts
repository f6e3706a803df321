// Two invalidations at once, of neighbouring pages of one slot, and a fault on the first of them: what one of them
// announces must outlive the other's end, and each keeps the fault away from its own range.
// linux v6.12 virt/kvm/kvm_main.c (kvm_mmu_invalidate_begin, kvm_mmu_invalidate_range_add, kvm_mmu_invalidate_end);
// specification of the secondary MMUs, section 2.1.
import { fails, patch, returned, safe, scenario, type Machine, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  WRITE_ONCE,
  bump_invalidate_seq,
  drop_invalidate_in_progress,
  kvm_mmu_invalidate_end,
  kvm_mmu_invalidate_range_add,
  kvm_tdp_mmu_map,
  kvm_handle_hva_range,
  kvm_mmu_invalidate_begin,
  kvm_mmu_unmap_gfn_range,
  mmu_invalidate_retry_gfn_unsafe,
  mmu_notifier_range_init,
  mmu_notifier_invalidate_range_start,
  mmu_notifier_invalidate_range_end,
  folio_put,
  pte_off,
  ptep_get_and_clear,
  type Page,
  type Ptep,
  mmu_invalidate_covers,
  mmu_invalidate_seq_changed,
  new_host_vm,
  new_mm,
  new_page,
  type Kvm,
  type Mm,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const SLOT = { id: 0, base_gfn: 0, npages: 2, userspace_addr: HVA };

const FAULT = { gfn: 0, write: true, present: false };

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly P: Page;
  readonly ptep: Ptep;
}

/** The look without the lock saves work and decides nothing: it may say no. */
const LOOK_ONCE = patch(mmu_invalidate_retry_gfn_unsafe, function* (): Steps<boolean> {
  return false;
});

export default scenario<State>('host-nested-invalidations', {
  machine: x86_64({ cpus: 3 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const P = new_page(m, 'P');
    const mm = new_mm(m, 'mm', { [HVA]: P, [HVA + PAGE_SIZE]: new_page(m, 'Q') }, { on: [] });
    const kvm = new_host_vm(m, mm, { memslots: [[SLOT]] });
    return { mm, P, ptep: pte_off(m, mm, HVA), kvm };
  },

  run: {
    // Only the fault: what it leaves behind is seen whether the guest goes on or not.
    CPU0: ({ kvm }) => kvm.mmu.page_fault(kvm.vcpus[0] as Vcpu, FAULT),
    // One that frees the page, as short as there is one; KVM hears of it because it has registered.
    *CPU1({ mm, ptep, P }) {
      const range = mmu_notifier_range_init(mm, HVA, HVA + PAGE_SIZE);
      yield* mmu_notifier_invalidate_range_start(range);
      yield* ptep_get_and_clear(ptep);
      yield* mmu_notifier_invalidate_range_end(range);
      yield* folio_put(P);
    },
    // Of the other what it announces, and no more: what happens in between does not matter.
    *CPU2({ kvm }) {
      const range = { start: HVA + PAGE_SIZE, end: HVA + 2 * PAGE_SIZE };
      const [on_lock, handler] = [kvm_mmu_invalidate_begin, kvm_mmu_unmap_gfn_range];
      yield* kvm_handle_hva_range(kvm, { ...range, on_lock, handler, flush_on_ret: true });
      yield* kvm_handle_hva_range(kvm, { ...range, on_lock: kvm_mmu_invalidate_end });
    },
  },

  sometimes: {
    'the page is mapped': returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    'an invalidation of the page is going on': returned(mmu_invalidate_covers, true),
    'one has ended meanwhile': returned(mmu_invalidate_seq_changed, true),
  },

  variants: {
    'counted, and united': safe({ patches: [LOOK_ONCE] }),
    // The first end says that nothing is going on any more, whoever else is between start and end.
    'first end resets count': fails(['stale-translation', 'property'], {
      patches: [
        LOOK_ONCE,
        patch(drop_invalidate_in_progress, function* (kvm) {
          yield* WRITE_ONCE(kvm.mmu_invalidate_in_progress, 0);
        }),
      ],
    }),
    // The second start announces its own range, and the first one's is forgotten.
    'last range counts': fails(['stale-translation', 'property'], {
      patches: [
        LOOK_ONCE,
        patch(kvm_mmu_invalidate_range_add, function* (kvm, start, end) {
          yield* WRITE_ONCE(kvm.mmu_invalidate_range_start, start);
          yield* WRITE_ONCE(kvm.mmu_invalidate_range_end, end);
        }),
      ],
    }),
    // The first end takes the range back, and not the last one.
    'first end drops range': fails(['stale-translation', 'property'], {
      patches: [
        LOOK_ONCE,
        patch(kvm_mmu_invalidate_end, function* (kvm) {
          yield* bump_invalidate_seq(kvm);
          yield* drop_invalidate_in_progress(kvm);
          yield* WRITE_ONCE(kvm.mmu_invalidate_range_start, 0);
          yield* WRITE_ONCE(kvm.mmu_invalidate_range_end, 0);
        }),
      ],
    }),
  },
});
