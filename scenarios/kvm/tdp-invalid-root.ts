// All of a guest's mappings are given up at once: its root becomes invalid, vCPUs load another, and the old
// tables are taken apart while faults go on.  The host unmaps a page of the guest meanwhile.
// linux v6.12 arch/x86/kvm/mmu/mmu.c (kvm_mmu_zap_all_fast), tdp_mmu.c (kvm_tdp_mmu_zap_invalidated_roots).
import { fails, fn, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  folio_put,
  hv_flush_remote_tlbs,
  is_root_for_notifiers,
  kvm_flush_remote_tlbs,
  kvm_mmu_zap_all_fast,
  kvm_request_free_obsolete_roots,
  kvm_tdp_mmu_invalidate_roots,
  kvm_tdp_mmu_unmap_all_roots,
  kvm_tdp_mmu_zap_invalidated_roots,
  new_mm,
  new_page,
  new_tdp_roots,
  new_tdp_vm,
  READ_ONCE,
  tdp_mmu_zap_root,
  vcpu_enter_guest_by_root,
  write_lock,
  write_unlock,
  type Page,
  type TdpRoots,
} from 'gracewalk/linux';

interface State {
  readonly roots: TdpRoots;
  readonly X: Page;
}

/** The host unmaps guest frame 0 and frees its page. */
const unmap = fn(function* kvm_mmu_notifier_invalidate_range_start({ roots, X }: State) {
  const { kvm } = roots;
  yield* write_lock(kvm.mmu_lock);
  if (yield* kvm_tdp_mmu_unmap_all_roots(roots, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
  yield* write_unlock(kvm.mmu_lock);
  yield* folio_put(X);
});

/** vCPUs are told when everything is over. */
const REQUEST_LAST = patch(kvm_mmu_zap_all_fast, function* (roots) {
  yield* write_lock(roots.kvm.mmu_lock);
  yield* kvm_tdp_mmu_invalidate_roots(roots);
  yield* write_unlock(roots.kvm.mmu_lock);
  yield* kvm_tdp_mmu_zap_invalidated_roots(roots);
  yield* kvm_request_free_obsolete_roots(roots);
});

/** Notifiers pass over roots that are invalid. */
const VALID_ROOTS_ONLY = patch(is_root_for_notifiers, function* ({ invalid }) {
  return (yield* READ_ONCE(invalid)) === 0;
});
const HYPERV = patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs);

export default scenario<State>('tdp-invalid-root', {
  machine: x86_64({ cpus: 3 }),

  setup(m: Machine) {
    const X = new_page(m, 'X', 1);
    const mm = new_mm(m, 'mm', {}, { on: [], tables: [0] });
    const kvm = new_tdp_vm(m, mm, 'kvm', { vcpus: ['CPU0'], mapped: { 0: X } });
    return { roots: new_tdp_roots(kvm), X };
  },

  run: {
    CPU0: ({ roots }) => vcpu_enter_guest_by_root(roots, 0),
    CPU1: ({ roots }) => kvm_mmu_zap_all_fast(roots),
    CPU2: unmap,
  },

  sometimes: {
    'the guest uses the page': returned(vcpu_enter_guest_by_root, true),
    'the notifier zaps it': returned(kvm_tdp_mmu_unmap_all_roots, true),
    'the notifier need not flush': returned(kvm_tdp_mmu_unmap_all_roots, false),
    'the old root is taken apart': returned(tdp_mmu_zap_root, undefined),
  },

  variants: {
    'requests, then zaps': safe({ patches: [HYPERV] }),
    'zaps, then requests': fails(['stale-translation', 'use-after-free'], {
      patches: [HYPERV, REQUEST_LAST],
    }),
    'notifiers pass over invalid roots': fails(['stale-translation', 'use-after-free'], {
      patches: [HYPERV, VALID_ROOTS_ONLY],
    }),
  },
});
