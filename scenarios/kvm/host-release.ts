// The process that backs a guest's memory exits. Its virtual machine's file descriptor may be open elsewhere.
// Andrea Arcangeli's mail of 26 April 2008: release "can run at anytime before the filehandle is closed", and
// "has to zap all sptes and freeze the mmu (hence all vcpus) to prevent any further page fault".
// linux v6.12 virt/kvm/kvm_main.c (kvm_mmu_notifier_release, kvm_vcpu_ioctl).
import { fails, fn, only, patch, returned, safe, scenario } from 'gracewalk';
import type { Machine, Steps, Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  WRITE_ONCE,
  fetch_add,
  folio_put,
  kvm_flush_remote_tlbs,
  kvm_flush_shadow_all,
  kvm_may_run,
  kvm_mmu_notifier_release,
  kvm_tdp_mmu_map,
  kvm_vcpu_ioctl,
  mmu_invalidate_retry_gfn,
  mmu_invalidate_seq_changed,
  new_host_vm,
  new_mm,
  new_page,
  pte_off,
  ptep_get_and_clear,
  vcpu_enter_guest,
  vcpu_faults_once,
  vcpu_never_faults,
  write_lock,
  write_unlock,
  type Kvm,
  type Mm,
  type Page,
  type Ptep,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const STORE = { gpa: 0, value: 100n };

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly ptep: Ptep;
  readonly P: Page;
  /** mm->mm_users: one for each thread of the process. */
  readonly mm_users: Word;
}

/** Of exit_mmap() what is to be seen here: the last thread is gone, and with it every translation. */
const exit_mmap = fn(function* exit_mmap({ kvm, ptep, P }: State): Steps<void> {
  yield* kvm_mmu_notifier_release(kvm);
  yield* ptep_get_and_clear(ptep);
  yield* folio_put(P);
});

const mmput = fn(function* mmput(state: State): Steps<void> {
  if ((yield* fetch_add(state.mm_users, -1)) === 1) yield* exit_mmap(state);
});

const guest = ({ kvm }: State) => vcpu_faults_once(kvm.vcpus[0] as Vcpu, STORE);

/** The descriptor was passed on: who runs the guest is no thread of the process. */
const PASSED_ON = {
  CPU0: (state: State) => kvm_vcpu_ioctl(state.kvm, null, () => guest(state)),
  CPU1: exit_mmap,
};

/** The same, and the guest is running, or about to, with an entry from before. */
const IN_THE_GUEST = {
  setup: (m: Machine) => machine(m, true),
  run: {
    CPU0: ({ kvm }: State) =>
      kvm_vcpu_ioctl(kvm, null, () => vcpu_never_faults(kvm.vcpus[0] as Vcpu, STORE)),
    CPU1: exit_mmap,
  },
};

/** kvm_vcpu_ioctl() refuses a thread of another process: -EIO. Not so here. */
const NOT_ASKED = patch(kvm_may_run, function* () {
  return true;
});

function machine(m: Machine, isMapped: boolean): State {
  const P = new_page(m, 'P');
  const mm = new_mm(m, 'mm', { [HVA]: P }, { on: [] });
  const mm_users = m.memory.variable('mm->mm_users', 2);
  const kvm = new_host_vm(m, mm, isMapped ? { mapped: { 0: P } } : {});
  return { mm, P, mm_users, ptep: pte_off(m, mm, HVA), kvm };
}

export default scenario<State>('host-release', {
  machine: x86_64({ cpus: 2 }),

  setup: (m) => machine(m, false),

  run: {
    *CPU0(state) {
      yield* kvm_vcpu_ioctl(state.kvm, state.mm, () => guest(state));
      yield* mmput(state);
    },
    CPU1: mmput,
  },

  sometimes: {
    'the page is mapped': only(
      ['by its process', 'passed on, refused', 'passed on, frozen'],
      returned(kvm_tdp_mmu_map, 'RET_PF_FIXED'),
    ),
    'the guest stores to the page': only(
      ['passed on, in the guest', 'in the guest, not flushed'],
      returned(vcpu_enter_guest, true),
    ),
    'a fault finds the MMU frozen': only(
      ['passed on, frozen'],
      returned(mmu_invalidate_retry_gfn, true),
    ),
  },

  variants: {
    // Every thread has one of mm_users, so none is in the guest when the last is gone.
    'by its process': safe(),
    // -EIO: the guest's memory is that of another process.
    'passed on, refused': safe({
      run: {
        *CPU0(state) {
          yield* kvm_vcpu_ioctl(state.kvm, state.mm, () => guest(state));
          yield* mmput(state);
          yield* kvm_vcpu_ioctl(state.kvm, null, () => guest(state)); // who has got the file by now
        },
        CPU1: mmput,
      },
    }),
    // What was removed is faulted in again, before the page is freed.
    'passed on, nobody asks': fails(['stale-translation', 'use-after-free'], {
      run: PASSED_ON,
      patches: [NOT_ASKED],
    }),
    'passed on, in the guest': safe({ ...IN_THE_GUEST, patches: [NOT_ASKED] }),
    // S1: the entries are gone, and the guest goes on by what it has cached of them.
    'in the guest, not flushed': fails(['stale-translation', 'use-after-free'], {
      ...IN_THE_GUEST,
      patches: [
        NOT_ASKED,
        patch(kvm_flush_shadow_all, function* (kvm) {
          yield* write_lock(kvm.mmu_lock);
          yield* kvm.mmu.unmap_gfn_range(kvm, 0, 1);
          yield* write_unlock(kvm.mmu_lock);
        }),
      ],
    }),
    // 2008: what release has removed stays removed.
    'passed on, frozen': safe({
      run: PASSED_ON,
      patches: [
        NOT_ASKED,
        patch(kvm_flush_shadow_all, function* (kvm) {
          yield* write_lock(kvm.mmu_lock);
          yield* WRITE_ONCE(kvm.vm_dead, 1);
          if (yield* kvm.mmu.unmap_gfn_range(kvm, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
          yield* write_unlock(kvm.mmu_lock);
        }),
        patch(mmu_invalidate_retry_gfn, function* (kvm, mmu_seq) {
          if ((yield* READ_ONCE(kvm.vm_dead)) === 1) return true;
          return yield* mmu_invalidate_seq_changed(kvm, mmu_seq);
        }),
      ],
    }),
  },
});
