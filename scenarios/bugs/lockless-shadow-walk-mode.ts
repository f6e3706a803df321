// A walk of shadow pages that flushes do not know of.  linux arch/x86/kvm/mmu/mmu.c, 2012.
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
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  fast_page_fault,
  kvm_mmu_commit_zap_page,
  kvm_mmu_prepare_zap_page,
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
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly sp: ShadowPage;
}

/** Takes a shadow page back. */
const mmu_shrink_scan = fn(function* mmu_shrink_scan({ kvm, sp }: State): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  yield* kvm_mmu_prepare_zap_page(kvm, sp);
  yield* kvm_mmu_commit_zap_page(kvm, [sp]);
  yield* write_unlock(kvm.mmu_lock);
});

export default scenario<State>('lockless-shadow-walk-mode', {
  title: 'A walk of shadow pages with interrupts off, which no interrupt is sent to',
  citation:
    'linux commit c142786c6291, "KVM: MMU: Don\'t use RCU for lockless shadow walking", 2012: the design whose omission this is',
  story:
    'Shadow pages were freed by call_rcu() for the sake of faults that walk them without a lock, and the counter of such ' +
    'walks was written by all vCPUs. It was thrown out: a walk turns interrupts off, and whoever frees pages interrupts ' +
    'all vCPUs before, to flush their TLBs, and waits. But the flush leaves a vCPU alone that is not in the guest, and ' +
    'a vCPU that walks is not. So there is a fourth mode for vcpu->mode besides outside, inside and leaving: reading shadow ' +
    'page tables. Without it, or without a barrier between storing it and reading the first entry, the page is freed ' +
    'under the walk.',

  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', {}, { tables: [0] });
    const page = new_page(m, 'X', 1);
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_ops(), {
      vcpus: ['CPU0'],
      mapped: { 0: { page, writable: false, dirty: false } },
      dirty_log: [0],
    });
    return { kvm, sp: sp_at(kvm, 0) };
  },

  run: {
    CPU0: ({ kvm }) =>
      fast_page_fault(kvm.vcpus[0] as Vcpu, { gfn: 0, write: true, present: true }),
    CPU1: mmu_shrink_scan,
  },

  sometimes: {
    'the walk is in the page when it is unlinked': touched('CPU0', ({ sp }) => sp.spt, 'unlinked'),
    'the page is gone': returned(fast_page_fault, 'RET_PF_INVALID'),
  },

  variants: {
    'no mode': fails('use-after-free', {
      shows: ['bug:lockless-shadow-walk-mode'],
      patches: [patch(mode_reading, nop)],
    }),
    'mode without a barrier': fails('use-after-free', {
      shows: ['bug:lockless-shadow-walk-mode'],
      model: 'tso',
      patches: [
        patch(smp_store_mb, function* (word, value) {
          yield* write_word(word, value);
        }),
      ],
    }),
    fixed: safe(),
    'fixed (tso)': safe({ model: 'tso' }),
  },
});
