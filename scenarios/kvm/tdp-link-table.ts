// Two faults in a range that has no table yet.  One links a new table; the other goes into it at once.
// linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (tdp_mmu_init_child_sp, tdp_mmu_link_sp); specification of the secondary
// MMUs, section 13: what a lock that is held exclusively (L0) did for a table's entries, and one that is shared (L1).
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
  __kvm_tdp_mmu_write_spte,
  __tdp_mmu_set_spte_atomic,
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
  tdp_mmu_add_sp,
  tdp_mmu_alloc_sp,
  tdp_mmu_free_sp,
  tdp_mmu_init_child_sp,
  tdp_mmu_link_sp,
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
  /** The host maps X for guest frame 0. */
  readonly host: Word;
}

const guest =
  (tables: string) =>
  (m: Machine): State => {
    const [X, Y] = [new_page(m, 'X', 1), new_page(m, 'Y', 1)];
    const host = m.memory.variable('host maps X', 1);
    const mm = new_mm(m, 'mm', {}, { on: [], tables: [0] });
    const kvm = new_tdp_vm(m, mm, 'kvm', { vcpus: ['CPU0'], tables, npages: 2 });
    return { kvm, vcpu: kvm.vcpus[0] as Vcpu, X, Y, host };
  };

const page_fault = fn(function* direct_page_fault(
  { kvm, vcpu, host }: State,
  gfn: number,
  page: Page,
) {
  const fault = { gfn, write: true, present: false };
  yield* read_lock(kvm.mmu_lock);
  const mapped = gfn === 1 || (yield* READ_ONCE(host)) === 1; // the host's tables: page 1 stays
  const r = mapped
    ? yield* kvm_tdp_mmu_map(vcpu, fault, { page, map_writable: true })
    : 'RET_PF_RETRY';
  yield* read_unlock(kvm.mmu_lock);
  return r;
});

const vcpu_run = fn(function* vcpu_run(s: State) {
  yield* page_fault(s, 0, s.X);
  yield* kvm_x86_vcpu_run(s.vcpu, { gpa: 0 });
});

/** The host unmaps guest frame 0 and frees its page. */
const unmap = fn(function* kvm_mmu_notifier_invalidate_range_start({ kvm, X, host }: State) {
  yield* write_lock(kvm.mmu_lock);
  yield* WRITE_ONCE(host, 0);
  if (yield* kvm_tdp_mmu_unmap_gfn_range(kvm, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
  yield* write_unlock(kvm.mmu_lock);
  yield* folio_put(X);
});

/** The table is there for everybody before its entries say that nothing is mapped. */
const LINK_FIRST = patch(tdp_mmu_add_sp, function* (kvm, iter) {
  const { gfn, level } = iter;
  const sp = yield* tdp_mmu_alloc_sp(kvm, level - 1);
  const linked = yield* tdp_mmu_link_sp(kvm, iter, sp);
  if (linked) yield* tdp_mmu_init_child_sp(kvm, sp, level - 1, gfn);
  else yield* tdp_mmu_free_sp(sp);
  return linked;
});
/** Who has looked at an entry stores to it, as if nobody else could have. */
const PLAIN_STORES = patch(__tdp_mmu_set_spte_atomic, function* ({ sptep }, new_spte) {
  yield* __kvm_tdp_mmu_write_spte(sptep, new_spte);
  return true;
});
const ONE_LOCK = [patch(read_lock, write_lock), patch(read_unlock, write_unlock)];
const HYPERV = patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs);

export default scenario<State>('tdp-link-table', {
  machine: x86_64({ cpus: 2 }),
  setup: guest('ept'),

  run: {
    CPU0: vcpu_run,
    *CPU1(s) {
      yield* page_fault(s, 1, s.Y);
      yield* unmap(s);
    },
  },

  sometimes: {
    'one links a table': returned(tdp_mmu_link_sp, true),
    'the other was faster': only(
      ['initialise, publish', 'initialise, publish, npt', 'initialise, publish, tso'],
      returned(tdp_mmu_link_sp, false),
    ),
    'the guest uses its page': returned(kvm_x86_vcpu_run, true),
    'the page is unmapped': returned(kvm_tdp_mmu_unmap_gfn_range, true),
  },

  variants: {
    'initialise, publish': safe({ shows: ['kvm:L1'], patches: [HYPERV] }),
    'initialise, publish, npt': safe({ setup: guest('npt'), patches: [HYPERV] }),
    'initialise, publish, tso': safe({ model: 'tso', patches: [HYPERV] }),
    'publish, initialise': fails(['stale-translation', 'use-after-free'], {
      shows: ['X23'],
      patches: [LINK_FIRST, HYPERV],
    }),
    'plain stores, one lock': safe({
      shows: ['kvm:L0'],
      patches: [PLAIN_STORES, ...ONE_LOCK, HYPERV],
    }),
    // The table that one has linked is replaced by the other's, and with it what it maps.
    'plain stores': fails(['stale-translation', 'use-after-free', 'leak'], {
      shows: ['kvm:L1'],
      patches: [PLAIN_STORES, HYPERV],
    }),
  },
});
