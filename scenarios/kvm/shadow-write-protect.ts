// KVM makes a shadow of one of the guest's page tables, and must hear of every store to it from then on.  Others
// change the entry without mmu_lock, or have changed it and not flushed yet.  linux v6.12
// arch/x86/kvm/mmu/mmu.c (rmap_write_protect, mmu_spte_update), v6.15 (kvm_rmap_age_gfn_range); specification
// linux-kvm.md 3.3, 3.4 and 13 (L2, L3).
import {
  fails,
  fn,
  leaf,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Page,
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  age_spte,
  copy_page,
  fast_page_fault,
  is_writable_pte,
  kvm_flush_remote_tlbs,
  kvm_get_dirty_log_protect,
  kvm_mmu_write_protect_pt_masked,
  kvm_rmap_age_gfn_range,
  mark_spte_for_access_track,
  memcpy_to_page,
  new_copy,
  new_mm,
  new_page,
  new_shadow_vm,
  rmap_write_protect,
  shadow_mmu_ops,
  slot_of,
  spte_needs_atomic_update,
  vcpu_enter_guest,
  vcpu_enters_once,
  writable_may_be_cached,
  write_entry,
  write_lock,
  write_unlock,
  type Kvm,
  type PageCopy,
  type Spte,
  type Sptep,
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly vcpu: Vcpu;
  /** The guest's page table, and what KVM's shadow of it was made of. */
  readonly table: Page;
  readonly shadow: PageCopy;
}

const guest_with = (tables: string, accessed: boolean) =>
  function setup(m: Machine): State {
    const mm = new_mm(m, 'mm', {}, { tables: [0] });
    const table = new_page(m, 'guest_pt', 1);
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_ops(), {
      tables,
      vcpus: ['CPU0'],
      mapped: { 0: { page: table, accessed } },
      dirty_log: [0],
    });
    for (const bit of slot_of(kvm, 0).dirty_bitmap ?? []) m.memory.store(bit, 1);
    const shadow = new_copy(m, 'shadow_pt[0]', table, 0, []);
    return { kvm, vcpu: kvm.vcpus[0] as Vcpu, table, shadow };
  };

/** A store to a write-protected page table comes to KVM: kvm_mmu_track_write() makes the shadow follow. */
const emulate_write = fn(function* emulate_write({ kvm, table, shadow }: State): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  yield* memcpy_to_page(table, 0, 0xbeefn);
  yield* copy_page(shadow);
  yield* write_unlock(kvm.mmu_lock);
});

/** The guest changes its page table. */
const guest_stores = fn(
  function* guest_stores(s: State): Steps<void> {
    const done = yield* vcpu_enters_once(s.vcpu, { gpa: 0, value: 0xbeefn });
    if (done === null) yield* emulate_write(s);
  },
  { hidden: true },
);

/** The same, after a fault that may have been because its accesses are tracked. */
const guest_faults = fn(
  function* guest_faults(s: State): Steps<void> {
    const ret = yield* fast_page_fault(s.vcpu, { gfn: 0, write: true, present: true });
    if (ret === 'RET_PF_INVALID') yield* emulate_write(s);
    else yield* guest_stores(s);
  },
  { hidden: true },
);

/** kvm_mmu_get_shadow_page() and sync_page(): the table is write-protected, then its shadow is made. */
const shadow_page_table = fn(function* shadow_page_table({ kvm, shadow }: State): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  if (yield* rmap_write_protect(kvm, 0, true)) yield* kvm_flush_remote_tlbs(kvm);
  yield* copy_page(shadow);
  yield* write_unlock(kvm.mmu_lock);
});

const harvest = fn(
  function* harvest({ kvm }: State): Steps<void> {
    yield* kvm_get_dirty_log_protect(kvm, slot_of(kvm, 0), kvm_mmu_write_protect_pt_masked);
  },
  { hidden: true },
);

const kvm_age_gfn = fn(function* kvm_age_gfn({ kvm }: State): Steps<boolean> {
  return yield* kvm_rmap_age_gfn_range(kvm, 0, 1, false);
});

const set_spte = leaf(
  function* set_spte(sptep: Sptep, spte: Spte): Steps<void> {
    yield* write_entry(sptep, spte);
  },
  { address: [0] },
);

const LOGGED = { CPU0: guest_stores, CPU1: harvest, CPU2: shadow_page_table };
const AGED = { CPU0: guest_faults, CPU1: kvm_age_gfn, CPU2: shadow_page_table };

export default scenario<State>('shadow-write-protect', {
  machine: x86_64({ cpus: 3 }),
  setup: guest_with('ept', true),
  run: LOGGED,

  sometimes: {
    'the guest stores before': returned(vcpu_enter_guest, true),
    'the store comes to KVM': returned(emulate_write, undefined),
    'a fault gives back what aging took away': only(
      ['while aged', 'write protection by a plain store'],
      returned(fast_page_fault, 'RET_PF_FIXED'),
    ),
  },

  variants: {
    'while logged': safe({ shows: ['kvm:L2'] }),
    // X26: the log has taken the permission away and not flushed yet.
    'flush only what is writable': fails('lost-dirty', {
      shows: ['X26', 'kvm:L2'],
      patches: [
        patch(writable_may_be_cached, function* (kvm, old, spte) {
          return is_writable_pte(kvm, old) && !is_writable_pte(kvm, spte);
        }),
      ],
    }),
    'while aged': safe({
      shows: ['kvm:L3'],
      setup: guest_with('ept_no_ad', true),
      run: AGED,
    }),
    // X16: what aging stores was made of an entry that was still MMU-writable, and a fault believes it.
    'aging by a plain store': fails('lost-dirty', {
      shows: ['X16', 'kvm:L3'],
      setup: guest_with('ept_no_ad', true),
      run: AGED,
      patches: [
        patch(age_spte, function* (kvm, sptep, spte) {
          yield* set_spte(sptep, mark_spte_for_access_track(kvm, spte, 0));
        }),
      ],
    }),
    // The holder of mmu_lock overwrites what aging and a fault have done. What he wants is what stands there
    // then; that the page was looked at is lost.
    'write protection by a plain store': safe({
      setup: guest_with('ept_no_ad', true),
      run: AGED,
      patches: [
        patch(spte_needs_atomic_update, function* () {
          return false;
        }),
      ],
    }),
  },
});
