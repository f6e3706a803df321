// KVM keeps a page of the guest mapped for itself, without a reference, while the host takes the page away.
// linux v6.12 virt/kvm/pfncache.c; specification of the secondary MMUs, section 2.9.
import { fails, nop, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  change_mn_active,
  gfn_to_pfn_cache_invalidate_start,
  kvm_gpc_refresh,
  kvm_gpc_write,
  kvm_handle_hva_range,
  kvm_mmu_invalidate_end,
  kvm_mmu_notifier_invalidate_range_end,
  madvise_dontneed,
  mmu_notifier_retry_cache,
  mn_active_invalidations,
  new_host_vm,
  new_mm,
  new_page,
  type Kvm,
  type Mm,
  type PfnCache,
} from 'gracewalk/linux';

const HVA = 0;

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly gpc: PfnCache;
}

export default scenario<State>('host-pfncache', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const pages = { [HVA]: new_page(m, 'P'), [HVA + PAGE_SIZE]: new_page(m, 'Q') };
    const mm = new_mm(m, 'mm', pages, { on: [] });
    const kvm = new_host_vm(m, mm, { gpcs: [0] });
    return { mm, kvm, gpc: kvm.gpcs[0] as PfnCache };
  },

  run: {
    *CPU0({ gpc }) {
      yield* kvm_gpc_refresh(gpc);
      yield* kvm_gpc_write(gpc, 1n);
    },
    CPU1: ({ mm }) => madvise_dontneed(mm, HVA, PAGE_SIZE),
  },

  sometimes: {
    'the page is looked up again': returned(mmu_notifier_retry_cache, true),
    'KVM writes to the page': returned(kvm_gpc_write, true),
    'the cache is not valid any more': returned(kvm_gpc_write, false),
  },

  variants: {
    correct: safe(),
    // K4: an invalidation ends between the two looks; the sequence was the old one, and the count is zero.
    'sequence before count': fails('use-after-free', {
      shows: ['K4'],
      patches: [
        patch(mmu_notifier_retry_cache, function* (kvm, mmu_seq) {
          if ((yield* READ_ONCE(kvm.mmu_invalidate_seq)) !== mmu_seq) return true;
          return yield* mn_active_invalidations(kvm);
        }),
      ],
    }),
    // K4, the other side: for a moment the count is zero and the sequence not up yet.
    'count dropped before sequence': fails('use-after-free', {
      shows: ['K4'],
      patches: [
        patch(kvm_mmu_notifier_invalidate_range_end, function* (kvm, start, end) {
          yield* change_mn_active(kvm, -1);
          yield* kvm_handle_hva_range(kvm, { start, end, on_lock: kvm_mmu_invalidate_end });
        }),
      ],
    }),
    // The cache is made invalid before this count goes up, so a refresh may come between the two.
    'asks mmu_invalidate_in_progress': fails('use-after-free', {
      patches: [
        patch(mn_active_invalidations, function* (kvm) {
          return (yield* READ_ONCE(kvm.mmu_invalidate_in_progress)) !== 0;
        }),
      ],
    }),
    'never made invalid': fails('use-after-free', {
      patches: [patch(gfn_to_pfn_cache_invalidate_start, nop)],
    }),
  },
});
