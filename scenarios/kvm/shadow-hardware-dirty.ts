// Hardware marks an entry of KVM's dirty while the page behind it is taken away, or write-protected.  Is the mark
// seen?  linux v6.12 arch/x86/kvm/mmu/mmu.c (mmu_spte_clear_track_bits, mmu_spte_update) and spte.c
// (spte_has_volatile_bits); specification linux-kvm.md 3.4.
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
  READ_ONCE,
  copy_page,
  kernel_of,
  kvm_flush_remote_tlbs,
  kvm_unmap_gfn_range,
  new_copy,
  new_mm,
  new_page,
  new_shadow_vm,
  rmap_write_protect,
  shadow_mmu_ops,
  spte_needs_atomic_update,
  swap_word,
  vcpu_enter_guest,
  vcpu_enters_once,
  write_lock,
  write_unlock,
  type Folio,
  type Kvm,
  type PageCopy,
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly folio: Folio;
  /** What is on disk of the page. */
  readonly disk: PageCopy;
}

/** The page is mapped writable and clean. */
const guest_with = (tables: string) =>
  function setup(m: Machine): State {
    const mm = new_mm(m, 'mm', {}, { tables: [0] });
    const page: Page = new_page(m, 'X', 1);
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_ops(), {
      tables,
      vcpus: ['CPU0'],
      mapped: { 0: { page, dirty: false } },
    });
    const folio = kernel_of(m).folio(page);
    return { kvm, folio, disk: new_copy(m, 'disk(X)', page, 0, [folio.PG_dirty]) };
  };

const guest_stores = fn(
  function* guest_stores({ kvm }: State): Steps<void> {
    yield* vcpu_enters_once(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 0xbeefn });
  },
  { hidden: true },
);

const folio_clear_dirty = leaf(function* folio_clear_dirty({ PG_dirty }: Folio): Steps<void> {
  yield* swap_word(PG_dirty, 0);
});

/** Writes the page to disk if it is dirty. */
const pageout = fn(function* pageout({ folio, disk }: State): Steps<boolean> {
  if ((yield* READ_ONCE(folio.PG_dirty)) === 0) return false;
  yield* folio_clear_dirty(folio);
  yield* copy_page(disk);
  return true;
});

/** Reclaim: the page is unmapped, then written out. */
const reclaim = fn(
  function* reclaim(s: State): Steps<void> {
    yield* write_lock(s.kvm.mmu_lock);
    if (yield* kvm_unmap_gfn_range(s.kvm, 0, 1)) yield* kvm_flush_remote_tlbs(s.kvm);
    yield* write_unlock(s.kvm.mmu_lock);
    yield* pageout(s);
  },
  { hidden: true },
);

/** The same of a page that is write-protected first. */
const protect_and_reclaim = fn(
  function* protect_and_reclaim(s: State): Steps<void> {
    yield* write_lock(s.kvm.mmu_lock);
    if (yield* rmap_write_protect(s.kvm, 0, false)) yield* kvm_flush_remote_tlbs(s.kvm);
    yield* write_unlock(s.kvm.mmu_lock);
    yield* reclaim(s);
  },
  { hidden: true },
);

const RECLAIM = { CPU0: guest_stores, CPU1: reclaim };
const PROTECTED = { CPU0: guest_stores, CPU1: protect_and_reclaim };
const PLAIN = [
  patch(spte_needs_atomic_update, function* () {
    return false;
  }),
];

export default scenario<State>('shadow-hardware-dirty', {
  machine: x86_64({ cpus: 2 }),
  setup: guest_with('ept'),
  run: RECLAIM,

  sometimes: {
    'the guest stores': returned(vcpu_enter_guest, true),
    'the guest is too late': returned(vcpu_enter_guest, null),
    'the page is dirty': returned(pageout, true),
    'the page is clean': only(
      ['reclaim, ept', 'reclaim, npt', 'reclaim, shadow'],
      returned(pageout, false),
    ),
  },

  variants: {
    'reclaim, ept': safe(),
    'reclaim, ept (tso)': safe({ model: 'tso' }),
    'reclaim, npt': safe({ setup: guest_with('npt') }),
    'reclaim, shadow': safe({ setup: guest_with('shadow') }),
    // Writable is dirty here.
    'reclaim, ept without A/D bits': safe({ setup: guest_with('ept_no_ad') }),
    'reclaim, plain store': fails('lost-dirty', { patches: PLAIN }),
    'reclaim, shadow, plain store': fails('lost-dirty', {
      setup: guest_with('shadow'),
      patches: PLAIN,
    }),
    'write-protected first': safe({ run: PROTECTED }),
    'write-protected first, plain store': fails('lost-dirty', { run: PROTECTED, patches: PLAIN }),
  },
});
