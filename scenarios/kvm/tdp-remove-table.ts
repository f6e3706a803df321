// A table of the TDP MMU is removed while somebody walks in it: a fault, which holds mmu_lock for reading as
// who removes it does, or the aging of pages, which holds nothing.  When may the table be freed?
// linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (handle_removed_pt, tdp_mmu_free_sp_rcu_callback); aging: v7.2.
import {
  fails,
  fn,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  touched,
  type Machine,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  WRITE_ONCE,
  call_rcu,
  freeze_removed_spte,
  kvm_tdp_mmu_age_gfn_range_lockless,
  kvm_tdp_mmu_map,
  local_irq_restore,
  local_irq_save,
  new_mm,
  new_page,
  new_tdp_vm,
  rcu_read_lock,
  rcu_read_unlock,
  read_lock,
  read_unlock,
  tdp_iter_next,
  tdp_iter_start,
  tdp_mmu_free_sp,
  tdp_mmu_free_sp_rcu,
  tdp_mmu_zap_spte_atomic,
  tree_call_rcu,
  try_cmpxchg64,
  zap_collapsible_spte_range,
  READING_SHADOW_PAGE_TABLES,
  OUTSIDE_GUEST_MODE,
  type Kvm,
  type Page,
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly X: Page;
  readonly sp: Page;
}

/** Guest frame 0 is X; the table for it is there, and maps it if it is said so. */
const guest =
  (mapped: boolean, vcpus: readonly string[] = []) =>
  (m: Machine): State => {
    const X = new_page(m, 'X', 1);
    const mm = new_mm(m, 'mm', {}, { on: [], tables: [0] });
    const tables = mapped ? { mapped: { 0: X } } : { tables_for: [0] };
    const kvm = new_tdp_vm(m, mm, 'kvm', { vcpus, ...tables });
    const sp = { frame: m.memory.frameByName.get('sp') as number, generation: 1 };
    return { kvm, X, sp };
  };

const remove_table = fn(function* kvm_mmu_zap_collapsible_sptes({ kvm }: State) {
  yield* read_lock(kvm.mmu_lock);
  yield* zap_collapsible_spte_range(kvm, kvm.root, 0, 1);
  yield* read_unlock(kvm.mmu_lock);
});

const page_fault = fn(function* direct_page_fault({ kvm, X }: State) {
  const vcpu = { kvm } as Vcpu;
  yield* read_lock(kvm.mmu_lock);
  const fault = { gfn: 0, write: true, present: false };
  const r = yield* kvm_tdp_mmu_map(vcpu, fault, { page: X, map_writable: true });
  yield* read_unlock(kvm.mmu_lock);
  return r;
});

const age = fn(function* kvm_mmu_notifier_clear_young({ kvm }: State) {
  return yield* kvm_tdp_mmu_age_gfn_range_lockless(kvm, 0, 1, true);
});

/** Somebody zaps the page alone, and has its entry frozen while he flushes. */
const zap_leaf = fn(function* tdp_mmu_zap_gfn({ kvm }: State) {
  yield* read_lock(kvm.mmu_lock);
  yield* rcu_read_lock();
  const iter = yield* tdp_iter_start(kvm, kvm.root, 0, 1);
  yield* tdp_iter_next(iter);
  if (iter.level === 0 && iter.old_spte.present) yield* tdp_mmu_zap_spte_atomic(kvm, iter);
  yield* rcu_read_unlock();
  yield* read_unlock(kvm.mmu_lock);
});

const FREE_AT_ONCE = patch(tdp_mmu_free_sp_rcu, function* (sp) {
  yield* tdp_mmu_free_sp(sp);
});
const TREE = patch(call_rcu, tree_call_rcu);

/** Waits for who has the entry frozen with interrupts off; `mode` is what others think of its vCPU. */
const IRQS_OFF = (mode: number) =>
  patch(freeze_removed_spte, function* (kvm, sptep, level) {
    const vcpu = kvm.vcpus[1] as Vcpu;
    const flags = yield* local_irq_save();
    yield* WRITE_ONCE(vcpu.mode, mode);
    const old_spte = yield* freeze_removed_spte.body(kvm, sptep, level);
    yield* WRITE_ONCE(vcpu.mode, OUTSIDE_GUEST_MODE);
    yield* local_irq_restore(flags);
    return old_spte;
  });

const AGE = { setup: guest(true), run: { CPU0: age, CPU1: remove_table } };
const TWO = { setup: guest(true, ['CPU0', 'CPU1']), run: { CPU0: zap_leaf, CPU1: remove_table } };
const WALKS = ['fault', 'fault, tso', 'fault, tree', 'aging', 'aging, tso', 'aging, tree'];

export default scenario<State>('tdp-remove-table', {
  machine: x86_64({ cpus: 2 }),
  setup: guest(false),

  run: { CPU0: page_fault, CPU1: remove_table },

  sometimes: {
    'the walk is in a table that is gone': only(
      WALKS,
      touched('CPU0', ({ sp }) => sp, 'pending'),
    ),
    'the entry has been frozen': only(WALKS, returned(try_cmpxchg64, false)),
    'the table is removed': returned(tdp_mmu_zap_spte_atomic, true),
  },

  variants: {
    fault: safe(),
    'fault, tso': safe({ model: 'tso' }),
    'fault, tree': safe({ patches: [TREE] }),
    aging: safe({ shows: ['kvm:L3'], ...AGE }),
    'aging, tso': safe({ ...AGE, model: 'tso' }),
    'aging, tree': safe({ ...AGE, patches: [TREE] }),
    'fault, freed at once': fails('use-after-free', { shows: ['X10'], patches: [FREE_AT_ONCE] }),
    'aging, freed at once': fails('use-after-free', {
      shows: ['X10'],
      ...AGE,
      patches: [FREE_AT_ONCE],
    }),
    // A fault holds a spinlock, which is a read-side section too. Aging has only this.
    'fault, no rcu_read_lock()': safe({
      shows: ['kvm:L1'],
      patches: [patch(rcu_read_lock, nop), patch(rcu_read_unlock, nop)],
    }),
    'aging, no rcu_read_lock()': fails('use-after-free', {
      shows: ['kvm:L3'],
      ...AGE,
      patches: [patch(rcu_read_lock, nop), patch(rcu_read_unlock, nop)],
    }),
    // Two remove the same page, one with its table.
    'two zap': safe(TWO),
    // It may as well have interrupts off while it waits: nobody interrupts a vCPU that is OUTSIDE_GUEST_MODE.
    'two zap, interrupts off': safe({ ...TWO, patches: [IRQS_OFF(OUTSIDE_GUEST_MODE)] }),
    // READING_SHADOW_PAGE_TABLES: who has the entry frozen waits for its interrupt. It spins, so it is called a
    // livelock.
    'two zap, interrupts off, taken for a walker': fails('livelock', {
      ...TWO,
      shows: ['X24'],
      patches: [IRQS_OFF(READING_SHADOW_PAGE_TABLES)],
    }),
  },
});
