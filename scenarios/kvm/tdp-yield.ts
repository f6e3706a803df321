// A range of guest frames is unmapped with mmu_lock held for writing.  Somebody may want the lock at any
// moment, and a walk lets him have it, between two entries.  Does it get to its end, and what does it owe before?
// linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (tdp_mmu_iter_cond_resched), tdp_iter.c (tdp_iter_restart).
import {
  choose,
  fails,
  fn,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  flush_before_yield,
  folio_put,
  hv_flush_remote_tlbs,
  kvm_flush_remote_tlbs,
  kvm_tdp_mmu_map,
  kvm_tdp_mmu_unmap_gfn_range,
  kvm_x86_vcpu_run,
  new_mm,
  new_page,
  new_tdp_vm,
  read_lock,
  read_unlock,
  rwlock_needbreak,
  tdp_iter_made_progress,
  tdp_mmu_iter_cond_resched,
  tdp_mmu_zap_leafs,
  write_lock,
  write_unlock,
  type Kvm,
  type Page,
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly vcpu: Vcpu;
  readonly X: Page;
  readonly Y: Page;
}

const guest = (m: Machine): State => {
  const [X, Y] = [new_page(m, 'X', 1), new_page(m, 'Y', 1)];
  const mm = new_mm(m, 'mm', {}, { on: [], tables: [0] });
  const options = { vcpus: ['CPU0'], npages: 2, mapped: { 0: X, 1: Y } };
  const kvm = new_tdp_vm(m, mm, 'kvm', options);
  return { kvm, vcpu: kvm.vcpus[0] as Vcpu, X, Y };
};

/** A slot goes: no notifier of the host is involved, and the pages stay. */
const zap_slot = fn(function* kvm_zap_gfn_range({ kvm }: State) {
  yield* write_lock(kvm.mmu_lock);
  const flush = yield* tdp_mmu_zap_leafs(kvm, kvm.root, 0, 2, true);
  if (flush) yield* kvm_flush_remote_tlbs(kvm);
  yield* write_unlock(kvm.mmu_lock);
});

/** A fault wants mmu_lock, and finds the frame mapped or maps it again. */
const page_fault = fn(function* direct_page_fault({ kvm, vcpu, X }: State) {
  yield* read_lock(kvm.mmu_lock);
  const fault = { gfn: 0, write: true, present: false };
  const r = yield* kvm_tdp_mmu_map(vcpu, fault, { page: X, map_writable: true });
  yield* read_unlock(kvm.mmu_lock);
  return r;
});

/** The host unmaps guest frame 0 and frees its page. What it finds unmapped it takes for flushed. */
const unmap = fn(function* kvm_mmu_notifier_invalidate_range_start({ kvm, X }: State) {
  yield* write_lock(kvm.mmu_lock);
  if (yield* kvm_tdp_mmu_unmap_gfn_range(kvm, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
  yield* write_unlock(kvm.mmu_lock);
  yield* folio_put(X);
});

const HYPERV = patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs);
/** Somebody waits for mmu_lock all the time: each vCPU that gets it faults again, as long as frames are unmapped. */
const CONTENDED = patch(rwlock_needbreak, function* () {
  return true;
});
/** Somebody may. */
const AT_TIMES = patch(rwlock_needbreak, function* () {
  return yield* choose('somebody waits for mmu_lock', [false, true]);
});
const NO_PROGRESS_CHECK = patch(tdp_iter_made_progress, function* () {
  return true;
});
const FREED = {
  CPU0: ({ vcpu }: State) => kvm_x86_vcpu_run(vcpu, { gpa: 0 }),
  CPU1: zap_slot,
  CPU2: unmap,
};

export default scenario<State>('tdp-yield', {
  machine: x86_64({ cpus: 3 }),
  setup: guest,

  run: { CPU1: zap_slot, CPU2: page_fault },

  sometimes: {
    'the walk pauses': returned(tdp_mmu_iter_cond_resched, true),
    'the frame is mapped again meanwhile': only(
      ['pauses where it has come further'],
      returned(page_fault, 'RET_PF_FIXED'),
    ),
    'the notifier finds nothing': only(
      ['flushes, then pauses'],
      returned(kvm_tdp_mmu_unmap_gfn_range, false),
    ),
  },

  variants: {
    'pauses where it has come further': safe({ patches: [HYPERV, CONTENDED] }),
    'pauses anywhere': fails('livelock', {
      shows: ['X6'],
      patches: [CONTENDED, NO_PROGRESS_CHECK],
    }),
    'flushes, then pauses': safe({ run: FREED, patches: [HYPERV, AT_TIMES] }),
    'pauses, then flushes': fails(['stale-translation', 'use-after-free'], {
      run: FREED,
      patches: [HYPERV, AT_TIMES, patch(flush_before_yield, nop)],
    }),
  },
});
