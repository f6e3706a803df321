// The notifier drops mmu_lock while it removes entries, and a fault comes in.
// linux v6.12 virt/kvm/kvm_main.c (kvm_mmu_invalidate_begin), arch/x86/kvm/mmu/tdp_mmu.c
// (tdp_mmu_iter_cond_resched); specification of the secondary MMUs, section 2.2, step 3.
import { entered, fails, nop, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  flush_before_yield,
  invalidating,
  kvm_mmu_invalidate_begin,
  kvm_mmu_invalidate_range_add,
  kvm_mmu_unmap_gfn_range,
  kvm_tdp_mmu_map,
  mmu_invalidate_retry_gfn,
  new_host_vm,
  new_mm,
  new_page,
  rwlock_needbreak,
  vcpu_faults_once,
  type Kvm,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const TWO_PAGES = 2 * PAGE_SIZE;
const SLOT = { id: 0, base_gfn: 0, npages: 2, userspace_addr: HVA };

/** Somebody always waits for mmu_lock. */
const YIELDS = patch(rwlock_needbreak, function* () {
  return true;
});

export default scenario<{ readonly kvm: Kvm }>('host-yielding-zap', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const [P, Q] = [new_page(m, 'P'), new_page(m, 'Q')];
    const mm = new_mm(m, 'mm', { [HVA]: P, [HVA + PAGE_SIZE]: Q }, { on: [] });
    return { kvm: new_host_vm(m, mm, { memslots: [[SLOT]], mapped: { 0: P, 1: Q } }) };
  },

  // What the host does between start and end does not matter here.
  run: {
    CPU0: ({ kvm }) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    CPU1: ({ kvm }) => invalidating(kvm, HVA, HVA + TWO_PAGES, nop),
  },

  sometimes: {
    'the page is mapped': returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    'the fault is to be tried again': returned(mmu_invalidate_retry_gfn, true),
    'the notifier drops mmu_lock': entered('CPU1', flush_before_yield),
  },

  variants: {
    'count, then remove': safe({ shows: ['K5'], patches: [YIELDS] }),
    // K5: what was removed before the pause is mapped again in it.
    'remove, then count': fails('property', {
      shows: ['K5'],
      patches: [
        YIELDS,
        patch(kvm_mmu_unmap_gfn_range, function* (kvm, start, end) {
          const flush = yield* kvm.mmu.unmap_gfn_range(kvm, start, end);
          yield* kvm_mmu_invalidate_begin.body(kvm);
          yield* kvm_mmu_invalidate_range_add(kvm, start, end);
          return flush;
        }),
        patch(kvm_mmu_invalidate_begin, nop),
      ],
    }),
  },
});
