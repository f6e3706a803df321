// Nobody's kernel: could the notifier remove entries with mmu_lock held for reading, side by side with faults?
// Its start must still wait for the faults that have found no invalidation and have not mapped their page yet.
// Specification of the secondary MMUs, sections 2.4 (a) and 13 (L4).
import {
  fails,
  fn,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Page,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  folio_put,
  hv_flush_remote_tlbs,
  invalidating,
  kvm_flush_remote_tlbs,
  kvm_mmu_invalidate_range_add,
  kvm_mmu_unmap_gfn_range,
  kvm_tdp_mmu_map,
  kvm_tdp_mmu_unmap_gfn_range,
  kvm_x86_vcpu_run,
  mmu_invalidate_retry_gfn,
  new_host_vm,
  new_mm,
  new_page,
  read_lock,
  read_unlock,
  synchronize_rcu,
  write_lock,
  write_unlock,
  type Kvm,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;

interface State {
  readonly kvm: Kvm;
  readonly vcpu: Vcpu;
  readonly X: Page;
  /** The process maps X for guest frame 0. */
  readonly host: Word;
}

const vcpu_run = fn(function* vcpu_run({ kvm, vcpu, X, host }: State) {
  const mmu_seq = yield* READ_ONCE(kvm.mmu_invalidate_seq);
  if ((yield* READ_ONCE(host)) === 0) return 'RET_PF_EMULATE';
  yield* read_lock(kvm.mmu_lock);
  const stale = yield* mmu_invalidate_retry_gfn(kvm, mmu_seq, 0);
  const fault = { gfn: 0, write: true, present: false };
  if (!stale) yield* kvm_tdp_mmu_map(vcpu, fault, { page: X, map_writable: true });
  yield* read_unlock(kvm.mmu_lock);
  yield* kvm_x86_vcpu_run(vcpu, { gpa: 0, value: 100n });
  return stale ? 'RET_PF_RETRY' : 'RET_PF_FIXED';
});

/** The process unmaps the page and frees it. */
const unmap = fn(function* munmap({ kvm, X, host }: State) {
  yield* invalidating(kvm, HVA, PAGE_SIZE, function* () {
    yield* WRITE_ONCE(host, 0);
    yield* folio_put(X);
  });
});

/** mmu_lock is never taken exclusively. */
const SHARED = [patch(write_lock, read_lock), patch(write_unlock, read_unlock)];

/**
 * Behind the announcement: a fault that has not seen it is under mmu_lock, where preemption is off, so a grace
 * period waits for it; one that comes later sees it.
 */
const WAITS_FOR_MAPPERS = patch(kvm_mmu_unmap_gfn_range, function* (kvm, start, end) {
  yield* kvm_mmu_invalidate_range_add(kvm, start, end);
  yield* read_unlock(kvm.mmu_lock);
  yield* synchronize_rcu();
  yield* read_lock(kvm.mmu_lock);
  return yield* kvm.mmu.unmap_gfn_range(kvm, start, end);
});

const HYPERV = patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs);

export default scenario<State>('tdp-shared-zap', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const X = new_page(m, 'X', 1);
    const host = m.memory.variable('host maps X', 1);
    const kvm = new_host_vm(m, new_mm(m, 'mm', {}, { on: [], tables: [0] }));
    return { kvm, vcpu: kvm.vcpus[0] as Vcpu, X, host };
  },

  run: { CPU0: vcpu_run, CPU1: unmap },

  sometimes: {
    'the page is mapped, and used': returned(kvm_x86_vcpu_run, true),
    'it is unmapped': returned(kvm_tdp_mmu_unmap_gfn_range, true),
    'the fault is to be tried again': returned(vcpu_run, 'RET_PF_RETRY'),
    'the page is gone': returned(vcpu_run, 'RET_PF_EMULATE'),
  },

  variants: {
    exclusive: safe({ patches: [HYPERV] }),
    // The fault has asked and not mapped yet; start removes what is there, which is nothing.
    shared: fails(['stale-translation', 'use-after-free', 'property'], {
      shows: ['kvm:L4'],
      patches: [...SHARED, HYPERV],
    }),
    'shared, start waits for mappers': safe({
      shows: ['kvm:L4'],
      patches: [...SHARED, WAITS_FOR_MAPPERS, HYPERV],
    }),
  },
});
