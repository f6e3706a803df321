// A fault walks KVM's shadow pages without a lock while one of them is taken back.  May it be freed under the
// walk?  linux v6.12 arch/x86/kvm/mmu/mmu.c (walk_shadow_page_lockless_begin, kvm_mmu_commit_zap_page),
// arch/x86/kvm/kvm_onhyperv.c; specification linux-kvm.md 3.1.
import {
  fails,
  fn,
  nop,
  patch,
  returned,
  safe,
  scenario,
  touched,
  type Machine,
  type Page,
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  fast_page_fault,
  hv_flush_remote_tlbs,
  kvm_flush_remote_tlbs,
  kvm_mmu_commit_zap_page,
  kvm_mmu_prepare_zap_page,
  local_irq_restore,
  local_irq_save,
  mode_reading,
  new_mm,
  new_page,
  new_shadow_vm,
  shadow_mmu_ops,
  smp_store_mb,
  sp_at,
  write_lock,
  write_unlock,
  write_word,
  type Kvm,
  type ShadowPage,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly sp: ShadowPage;
  readonly spt: Page;
}

/** A store of the guest to a page that is write-protected for the log of dirty pages. */
const guest_faults = fn(
  function* guest_faults({ kvm: { vcpus } }: State): Steps<void> {
    for (const vcpu of vcpus) {
      yield* fast_page_fault(vcpu, { gfn: 0, write: true, present: true });
    }
  },
  { hidden: true },
);

/** mmu_shrink_scan(): takes a shadow page back. */
const mmu_shrink_scan = fn(function* mmu_shrink_scan({ kvm, sp }: State): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  yield* kvm_mmu_prepare_zap_page(kvm, sp);
  yield* kvm_mmu_commit_zap_page(kvm, [sp]);
  yield* write_unlock(kvm.mmu_lock);
});

const MODE_BUFFERED = [
  patch(smp_store_mb, function* (word, value) {
    yield* write_word(word, value);
  }),
];

export default scenario<State>('shadow-lockless-walk', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', {}, { tables: [0] });
    const page = new_page(m, 'X', 1);
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_ops(), {
      vcpus: ['CPU0'],
      mapped: { 0: { page, writable: false, dirty: false } },
      dirty_log: [0],
    });
    const sp = sp_at(kvm, 0);
    return { kvm, sp, spt: sp.spt };
  },

  run: { CPU0: guest_faults, CPU1: mmu_shrink_scan },

  sometimes: {
    'the walk is in the page when it is unlinked': touched('CPU0', ({ spt }) => spt, 'unlinked'),
    'the fault is mended': returned(fast_page_fault, 'RET_PF_FIXED'),
    'the page is gone': returned(fast_page_fault, 'RET_PF_INVALID'),
  },

  variants: {
    reading: safe(),
    'reading (tso)': safe({ model: 'tso' }),
    // X1: the flush takes the vCPU for one that is outside of everything.
    'no mode': fails('use-after-free', { shows: ['X1'], patches: [patch(mode_reading, nop)] }),
    // X2: the mode waits in the store buffer while the walk has read the link already.
    'no barrier (tso)': fails('use-after-free', {
      shows: ['X2'],
      model: 'tso',
      patches: MODE_BUFFERED,
    }),
    'no barrier (sc)': safe({ patches: MODE_BUFFERED }),
    // The vCPU is interrupted in the middle of the walk, which says nothing about it.
    'interrupts on': fails('use-after-free', {
      patches: [patch(local_irq_save, nop), patch(local_irq_restore, nop)],
    }),
    // X4: the hypervisor flushes for us, and interrupts nobody.
    'flush by hypercall': fails('use-after-free', {
      shows: ['X4'],
      patches: [patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs)],
    }),
  },
});
