// Two vCPUs fault on a guest frame for which there is no shadow page yet; or the host takes the page away.  What
// does the shadow MMU rely on mmu_lock for?  linux v6.12 arch/x86/kvm/mmu/mmu.c (direct_page_fault, direct_map);
// specification linux-kvm.md 2.3 and 13 (L0, and what L1 would be without its compare-and-exchange).
import {
  fails,
  fn,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  direct_map,
  direct_page_fault,
  is_page_fault_stale,
  kvm_mmu_notifier_invalidate_range_end,
  kvm_mmu_notifier_invalidate_range_start,
  madvise_dontneed,
  new_mm,
  new_page,
  new_shadow_vm,
  read_lock,
  read_unlock,
  shadow_mmu_for_host,
  vcpu_faults_once,
  write_lock,
  write_unlock,
  type Kvm,
  type Mm,
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
}

const faults = (at: number) =>
  fn(
    function* faults({ kvm }: State): Steps<void> {
      const fault = { gfn: 0, write: true, present: false };
      yield* direct_page_fault(kvm.vcpus[at] as Vcpu, fault, direct_map);
    },
    { hidden: true },
  );

const guest_stores = fn(
  function* guest_stores({ kvm }: State): Steps<void> {
    yield* vcpu_faults_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 0xbeefn });
  },
  { hidden: true },
);

const unmap = fn(
  function* unmap({ mm, kvm }: State): Steps<void> {
    yield* kvm_mmu_notifier_invalidate_range_start(kvm, 0, PAGE_SIZE);
    yield* madvise_dontneed(mm, 0, PAGE_SIZE);
    yield* kvm_mmu_notifier_invalidate_range_end(kvm, 0, PAGE_SIZE);
  },
  { hidden: true },
);

const HOST = { CPU0: guest_stores, CPU1: unmap };

export default scenario<State>('shadow-fault', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', { 0: new_page(m, 'X') }, { on: [] });
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_for_host, {
      vcpus: ['CPU0', 'CPU1'],
      dirty_log: [0],
    });
    return { mm, kvm };
  },

  run: { CPU0: faults(0), CPU1: faults(1) },

  sometimes: {
    'the page is mapped': returned(direct_map, 'RET_PF_FIXED'),
    'somebody else has mapped it': only(['two faults'], returned(direct_map, 'RET_PF_SPURIOUS')),
    'an invalidation has come between': only(
      ['fault and invalidation'],
      returned(is_page_fault_stale, true),
    ),
  },

  variants: {
    'two faults': safe(),
    'two faults, lock for reading': fails('leak', {
      patches: [
        patch(write_lock, function* (lock) {
          yield* read_lock(lock);
        }),
        patch(write_unlock, function* (lock) {
          yield* read_unlock(lock);
        }),
      ],
    }),
    'fault and invalidation': safe({ run: HOST }),
    'staleness not asked': fails(['stale-translation', 'use-after-free', 'property'], {
      run: HOST,
      patches: [
        patch(is_page_fault_stale, function* () {
          return false;
        }),
      ],
    }),
  },
});
