// Tables are removed in a batch, with mmu_lock held for writing, and flushed together at its end or before it
// lets others run.  The guest walks in them all the while.  What keeps a table until the flush is over?
// linux v6.12 arch/x86/kvm/mmu/mmu.c (kvm_recover_nx_huge_pages), tdp_mmu.c (kvm_tdp_mmu_zap_sp), tdp_iter.h:
// "flows that can remove SPs must service pending TLB flushes prior to dropping RCU protection".
import { choose, fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  end_of_batch,
  hv_flush_remote_tlbs,
  kvm_flush_remote_tlbs,
  kvm_recover_nx_huge_pages,
  kvm_tdp_mmu_zap_sp,
  kvm_x86_vcpu_run,
  new_mm,
  new_page,
  new_tdp_vm,
  rcu_read_unlock,
  rwlock_needbreak,
  write_lock,
  write_unlock,
  rcu_read_lock,
  type Kvm,
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly vcpu: Vcpu;
}

const guest =
  (tables: string) =>
  (m: Machine): State => {
    const X = new_page(m, 'X', 1);
    const mm = new_mm(m, 'mm', {}, { on: [], tables: [0] });
    const kvm = new_tdp_vm(m, mm, 'kvm', { vcpus: ['CPU0'], tables, mapped: { 0: X } });
    return { kvm, vcpu: kvm.vcpus[0] as Vcpu };
  };

const HYPERV = patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs);
/** Somebody may want mmu_lock at any moment. */
const CONTENDED = patch(rwlock_needbreak, function* () {
  return yield* choose('somebody waits for mmu_lock', [false, true]);
});

/** The section ends before the flush. mmu_lock is still held, and that is a read-side section too. */
const FLUSH_AFTER_RCU = patch(end_of_batch, function* (kvm, flush) {
  yield* rcu_read_unlock();
  if (flush) yield* kvm_flush_remote_tlbs(kvm);
});

/** Nobody is kept out any more when the flush is done. */
const FLUSH_AFTER_UNLOCK = patch(kvm_recover_nx_huge_pages, function* (kvm, gfns) {
  let flush = false;
  yield* write_lock(kvm.mmu_lock);
  yield* rcu_read_lock();
  for (const gfn of gfns) flush = (yield* kvm_tdp_mmu_zap_sp(kvm, gfn)) || flush;
  yield* rcu_read_unlock();
  yield* write_unlock(kvm.mmu_lock);
  if (flush) yield* kvm_flush_remote_tlbs(kvm);
});

const GONE = ['stale-translation', 'use-after-free'] as const;

export default scenario<State>('tdp-recover-nx', {
  machine: x86_64({ cpus: 2 }),
  setup: guest('ept'),

  run: {
    CPU0: ({ vcpu }) => kvm_x86_vcpu_run(vcpu, { gpa: 0, value: 1n }),
    CPU1: ({ kvm }) => kvm_recover_nx_huge_pages(kvm, [0]),
  },

  sometimes: {
    'the table is removed': returned(kvm_tdp_mmu_zap_sp, true),
    'the guest uses its page': returned(kvm_x86_vcpu_run, true),
    'the guest faults': returned(kvm_x86_vcpu_run, false),
  },

  variants: {
    'flush, rcu_read_unlock': safe({ patches: [HYPERV] }),
    'flush, rcu_read_unlock, npt': safe({ setup: guest('npt'), patches: [HYPERV] }),
    'flush, rcu_read_unlock, tso': safe({ model: 'tso', patches: [HYPERV] }),
    'flush, rcu_read_unlock, contended': safe({ patches: [HYPERV, CONTENDED] }),
    'rcu_read_unlock, flush': safe({ patches: [HYPERV, FLUSH_AFTER_RCU] }),
    'rcu_read_unlock, write_unlock, flush': fails(GONE, {
      shows: ['X11'],
      patches: [HYPERV, FLUSH_AFTER_UNLOCK],
    }),
  },
});
