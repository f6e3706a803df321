// Clearing the accessed bit without mmu_lock, while somebody zaps the entry and somebody else faults on it.
// linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (tdp_mmu_zap_spte_atomic), v7.2 (kvm_tdp_mmu_age_spte).  FROZEN_SPTE
// has the accessed bits of EPT and NPT set: an AND that comes too late makes it another value.
// No release had both, freezing an entry that is used again and aging by AND: v6.12 aged under mmu_lock, and
// from v6.15 on entries stay frozen.
import {
  fails,
  fn,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  WRITE_ONCE,
  age_spte_by_and,
  hv_flush_remote_tlbs,
  kvm_flush_remote_tlbs,
  kvm_tdp_mmu_age_gfn_range,
  kvm_tdp_mmu_age_gfn_range_lockless,
  kvm_tdp_mmu_age_spte,
  kvm_tdp_mmu_map,
  kvm_tdp_mmu_unmap_gfn_range,
  kvm_x86_vcpu_run,
  folio_put,
  new_mm,
  new_page,
  new_tdp_vm,
  rcu_read_lock,
  rcu_read_unlock,
  read_lock,
  read_unlock,
  tdp_iter_next,
  tdp_iter_start,
  tdp_mmu_zap_spte_atomic,
  try_cmpxchg64,
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
  /** The host maps X for guest frame 0. */
  readonly host: Word;
}

const guest =
  (tables: string) =>
  (m: Machine): State => {
    const X = new_page(m, 'X', 1);
    const host = m.memory.variable('host maps X', 1);
    const mm = new_mm(m, 'mm', {}, { on: [], tables: [0] });
    const kvm = new_tdp_vm(m, mm, 'kvm', { vcpus: ['CPU0'], tables, mapped: { 0: X } });
    return { kvm, vcpu: kvm.vcpus[0] as Vcpu, X, host };
  };

/** The guest has faulted, and runs on when the fault is handled. The host's own tables are one word here. */
const vcpu_run = fn(function* vcpu_run({ kvm, vcpu, X, host }: State) {
  yield* read_lock(kvm.mmu_lock);
  const stale = (yield* READ_ONCE(host)) === 0;
  const fault = { gfn: 0, write: true, present: false };
  if (!stale) yield* kvm_tdp_mmu_map(vcpu, fault, { page: X, map_writable: true });
  yield* read_unlock(kvm.mmu_lock);
  yield* kvm_x86_vcpu_run(vcpu, { gpa: 0 });
});

/** Zaps the entry with mmu_lock held for reading. */
const zap = fn(function* tdp_mmu_zap_gfn({ kvm }: State) {
  yield* read_lock(kvm.mmu_lock);
  yield* rcu_read_lock();
  const iter = yield* tdp_iter_start(kvm, kvm.root, 0, 1);
  yield* tdp_iter_next(iter);
  const zapped =
    iter.level === 0 && iter.old_spte.present && (yield* tdp_mmu_zap_spte_atomic(kvm, iter));
  yield* rcu_read_unlock();
  yield* read_unlock(kvm.mmu_lock);
  return zapped;
});

/** The host unmaps the page and frees it: mmu_notifier_invalidate_range_start() and what follows. */
const unmap = fn(function* kvm_mmu_notifier_invalidate_range_start({ kvm, X, host }: State) {
  yield* write_lock(kvm.mmu_lock);
  yield* WRITE_ONCE(host, 0); // no fault finds the page any more
  if (yield* kvm_tdp_mmu_unmap_gfn_range(kvm, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
  yield* write_unlock(kvm.mmu_lock);
  yield* folio_put(X);
});
/** Aging as v6.12 does it. */
const age_locked = fn(function* kvm_mmu_notifier_clear_young({ kvm }: State) {
  yield* write_lock(kvm.mmu_lock);
  const young = yield* kvm_tdp_mmu_age_gfn_range(kvm, 0, 1, true);
  yield* write_unlock(kvm.mmu_lock);
  return young;
});

/** The hypercall is one step where requests to vCPUs are many; nothing here counts on an interrupt. */
const HYPERV = patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs);
const AND = patch(kvm_tdp_mmu_age_spte, age_spte_by_and);

const STALE = ['stale-translation', 'use-after-free'] as const;
const zap_and_unmap = fn(
  function* zap_and_unmap(s: State) {
    yield* zap(s);
    yield* unmap(s);
  },
  { hidden: true },
);
const LOCKED = { CPU0: vcpu_run, CPU1: zap_and_unmap, CPU2: age_locked };

const LOCKLESS = [
  'compare-and-exchange',
  'compare-and-exchange, npt',
  'compare-and-exchange, no A/D bits',
];

export default scenario<State>('tdp-age-vs-zap', {
  machine: x86_64({ cpus: 3 }),
  setup: guest('ept'),

  run: {
    CPU0: vcpu_run,
    CPU1: zap_and_unmap,
    CPU2: ({ kvm }) => kvm_tdp_mmu_age_gfn_range_lockless(kvm, 0, 1, true),
  },

  sometimes: {
    'the page is young': only(LOCKLESS, returned(kvm_tdp_mmu_age_gfn_range_lockless, true)),
    'the page is young, and mmu_lock is held': only(
      ['and under mmu_lock'],
      returned(age_locked, true),
    ),
    // The mark is then lost, or cleared by who zaps: allowed, as is a TLB that is not flushed.
    'who clears the mark was too late': only(LOCKLESS, returned(try_cmpxchg64, false)),
    'the entry is zapped': returned(zap, true),
    'the guest runs': returned(kvm_x86_vcpu_run, true),
  },

  variants: {
    // L1: faults and this zap hold mmu_lock for reading, aging for writing.
    'and under mmu_lock': safe({ run: LOCKED, patches: [HYPERV] }),
    // L3: aging holds nothing.
    'compare-and-exchange': safe({ shows: ['kvm:C1'], patches: [HYPERV] }),
    'compare-and-exchange, npt': safe({
      shows: ['kvm:C1'],
      setup: guest('npt'),
      patches: [HYPERV],
    }),
    'compare-and-exchange, no A/D bits': safe({ setup: guest('ept_no_ad'), patches: [HYPERV] }),
    and: fails(STALE, { shows: ['X22', 'kvm:C1'], patches: [AND, HYPERV] }),
    'and, npt': fails(STALE, {
      shows: ['X22', 'kvm:C1'],
      setup: guest('npt'),
      patches: [AND, HYPERV],
    }),
  },
});
