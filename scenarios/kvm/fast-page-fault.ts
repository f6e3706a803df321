// A fault of the guest is mended without mmu_lock: by a write to a page that is write-protected for the log of
// dirty pages.  Is every store in the log?  May the page be gone?  linux v6.12 arch/x86/kvm/mmu/mmu.c
// (fast_page_fault), virt/kvm/kvm_main.c (kvm_get_dirty_log_protect); specification linux-kvm.md 3.3 and 13 (L2).
import {
  fails,
  fn,
  leaf,
  nop,
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
  copy_page,
  fast_page_fault,
  fast_pf_fix_direct_spte,
  folio_put,
  huge_is_logged,
  is_writable_pte,
  kvm_flush_remote_tlbs,
  kvm_get_dirty_log_protect,
  kvm_mmu_write_protect_pt_masked,
  kvm_unmap_gfn_range,
  mark_page_dirty_in_slot,
  new_copy,
  new_mm,
  new_page,
  new_shadow_vm,
  rmap_write_protect,
  shadow_mmu_ops,
  slot_of,
  try_cmpxchg64,
  vcpu_enters_once,
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
  readonly X: Page;
  /** What user space has of the guest's pages. */
  readonly copies: readonly PageCopy[];
}

/** The page is mapped without the permission to write, as after a harvest of the log, or `writable`. */
const logged = (tables: string, { writable = false, level = 0 } = {}) =>
  function setup(m: Machine): State {
    const mm = new_mm(m, 'mm', {}, { tables: [0] });
    const X = new_page(m, 'X', 1);
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_ops(), {
      tables,
      vcpus: ['CPU0'],
      mapped: { 0: { page: X, writable, level, dirty: writable } },
      dirty_log: level === 0 ? [0] : [0, 1],
    });
    const bits = slot_of(kvm, 0).dirty_bitmap ?? [];
    if (writable || level > 0) for (const bit of bits) m.memory.store(bit, 1);
    const copies = bits.map((bit, gfn) => new_copy(m, `copy[${gfn}]`, X, gfn * 8, [bit]));
    return { kvm, vcpu: kvm.vcpus[0] as Vcpu, X, copies };
  };

/** The guest's store to page 0 has faulted, and is tried once more; of a huge page then one to page 1. */
const guest = fn(
  function* guest({ vcpu, copies }: State): Steps<void> {
    yield* fast_page_fault(vcpu, { gfn: 0, write: true, present: true });
    for (const [gfn] of copies.entries()) {
      yield* vcpu_enters_once(vcpu, { gpa: gfn * 4096 + gfn * 8, value: 0xbeefn });
    }
  },
  { hidden: true },
);

/** User space reads the log and copies what it names. */
const migrate = fn(
  function* migrate({ kvm, copies }: State): Steps<void> {
    const slot = slot_of(kvm, 0);
    for (const gfn of yield* kvm_get_dirty_log_protect(
      kvm,
      slot,
      kvm_mmu_write_protect_pt_masked,
    )) {
      yield* copy_page(copies[gfn] as PageCopy);
    }
  },
  { hidden: true },
);

/** The primary MMU takes the page: as between invalidate_range_start() and the last reference's end. */
const reclaim = fn(
  function* reclaim({ kvm, X }: State): Steps<void> {
    yield* write_lock(kvm.mmu_lock);
    if (yield* kvm_unmap_gfn_range(kvm, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
    yield* write_unlock(kvm.mmu_lock);
    yield* folio_put(X);
  },
  { hidden: true },
);

const RECLAIM = { CPU0: guest, CPU1: reclaim };

const LOG_FIRST = [
  patch(fast_pf_fix_direct_spte, function* ({ kvm }, { gfn }, sptep, old, spte) {
    if (is_writable_pte(kvm, spte)) yield* mark_page_dirty_in_slot(kvm, slot_of(kvm, gfn), gfn);
    return yield* try_cmpxchg64(sptep, old, spte);
  }),
];

const set_spte = leaf(
  function* set_spte(sptep: Sptep, spte: Spte): Steps<void> {
    yield* write_entry(sptep, spte);
  },
  { address: [0] },
);

const PLAIN_STORE = [
  patch(try_cmpxchg64, function* (sptep, _old, spte) {
    yield* set_spte(sptep, spte);
    return true;
  }),
];

export default scenario<State>('fast-page-fault', {
  machine: x86_64({ cpus: 2 }),
  setup: logged('ept'),
  run: { CPU0: guest, CPU1: migrate },

  sometimes: {
    'the fault is mended without a lock': only(
      [
        'log',
        'log (tso)',
        'log, no A/D bits',
        'log, written to',
        'reclaim',
        'reclaim, no A/D bits',
      ],
      returned(fast_page_fault, 'RET_PF_FIXED'),
    ),
    'the log names the page': only(
      ['log', 'log (tso)', 'log, no A/D bits', 'log, written to'],
      returned(kvm_get_dirty_log_protect, (dirty) => dirty.length > 0),
    ),
    'the entry goes under the fault': only(
      ['reclaim', 'reclaim, no A/D bits'],
      returned(try_cmpxchg64, false),
    ),
    'a huge page is left to the slow path': only(
      ['huge'],
      returned(fast_page_fault, 'RET_PF_INVALID'),
    ),
  },

  variants: {
    log: safe(),
    'log (tso)': safe({ model: 'tso' }),
    'log, no A/D bits': safe({ setup: logged('ept_no_ad') }),
    'log, written to': safe({ setup: logged('ept', { writable: true }) }),
    // X14: the mark is harvested while there is nothing to protect yet.
    'log before the entry': fails('lost-dirty', { shows: ['X14'], patches: LOG_FIRST }),
    'never write-protected': fails('lost-dirty', {
      patches: [
        patch(rmap_write_protect, function* () {
          return false;
        }),
      ],
    }),
    'no flush': fails('lost-dirty', {
      setup: logged('ept', { writable: true }),
      patches: [patch(kvm_flush_remote_tlbs, nop)],
    }),
    reclaim: safe({ shows: ['kvm:L2'], run: RECLAIM }),
    'reclaim, no A/D bits': safe({ setup: logged('ept_no_ad'), run: RECLAIM }),
    // X12: the mapping of a page that has been freed comes back to life.
    'plain store': fails(['stale-translation', 'use-after-free'], {
      shows: ['X12', 'kvm:L2'],
      run: RECLAIM,
      patches: PLAIN_STORE,
    }),
    huge: safe({ setup: logged('ept', { level: 1 }) }),
    // X14': page 1 is written through the entry that the fault of page 0 made writable.
    'huge, writable while logged': fails('lost-dirty', {
      shows: ['X14'],
      setup: logged('ept', { level: 1 }),
      patches: [
        patch(huge_is_logged, function* () {
          return false;
        }),
      ],
    }),
  },
});
