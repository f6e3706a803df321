// A device maps a page and holds no reference on it, while each of the primary MMU's operations takes the page away.
// Are page pins needed?  When may the device's TLB be flushed late?  2008 thread of the mmu-notifier-core patches;
// linux v6.12 mm/madvise.c, mmap.c, rmap.c, mprotect.c, khugepaged.c, memory.c.
import {
  entered,
  fails,
  fn,
  nop,
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
  clear_spte,
  collapse_huge_page,
  detach_page_table,
  do_wp_page,
  flush_secondary_tlb,
  folio_put,
  folio_remove_rmap_pte,
  madvise_dontneed,
  migrate_folio,
  __mmu_notifier_invalidate_range_end,
  __mmu_notifier_invalidate_range_start,
  mprotect,
  munmap,
  new_file,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_page_of_file,
  new_shadow,
  pmd_off,
  pte_free_defer,
  registered,
  replace_page,
  retract_page_table,
  retract_page_tables,
  shadow_fault,
  shadow_invalidate_range_start,
  shadow_ops,
  shrink_folio_list,
  spin_lock,
  spin_unlock,
  truncate_inode_folio,
  unmap_mapping_folio,
  type Mm,
  type Page,
  type Pmdp,
  type Shadow,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly pmdp: Pmdp;
  readonly kvm: Shadow;
  /** What can be done to a page of a file only. */
  readonly move: () => Steps<unknown>;
  readonly truncate: () => Steps<unknown>;
  /** The page that KSM puts in the place of X. */
  readonly K: Page;
}

type OfFile = Pick<State, 'move' | 'truncate'>;

function state(
  m: Machine,
  mm: Mm,
  X: Page,
  of: OfFile = { move: nothing, truncate: nothing },
): State {
  const kvm = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
  registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(kvm)));
  return { mm, X, kvm, pmdp: pmd_off(m, mm, ADDR), ...of, K: new_page(m, 'K', 1) };
}

function* nothing(): Steps<void> {
  // an anonymous page has no file
}

/** An anonymous page of this process; `shared`: of another one as well, so it is copied when it is written to. */
function anonymous(m: Machine, shared = false): State {
  const X = new_page(m, 'X', shared ? 1 : 0);
  return state(m, new_mm(m, 'mm', { [ADDR]: X }, { on: [], writable: !shared }), X);
}

function of_file(m: Machine): State {
  const file = new_file(m, 'F', { shmem: false });
  const X = new_page_of_file(m, 'X', file);
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [], rwsem: file.i_mmap_rwsem });
  return state(m, mm, X, {
    move: () => migrate_folio(mm, file, X),
    truncate: () => truncate_inode_folio(mm, file, X),
  });
}

/** The device faults meanwhile. */
const against = (takes: (s: State) => Steps<unknown>) => ({
  run: { CPU0: ({ kvm }: State) => shadow_fault(kvm, ADDR), CPU1: takes },
});

const MADVISE = against(({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE));
const MUNMAP = against(({ mm }) => munmap(mm, ADDR, PAGE_SIZE));
const RECLAIM = { setup: of_file, ...against(({ mm, X }) => shrink_folio_list(mm, X)) };
const MIGRATE = { setup: of_file, ...against(({ move }) => move()) };
const TRUNCATE = { setup: of_file, ...against(({ truncate }) => truncate()) };

/** Of a table that is retracted nothing is mapped any more: who has unmapped it has told. */
const RETRACT = {
  setup: of_file,
  ...against(function* ({ mm, X }) {
    yield* unmap_mapping_folio(mm, X);
    yield* retract_page_tables(mm, ADDR);
  }),
};

/** Not so where the table goes first, with what it maps (collapse_pte_mapped_thp()); X is given back later. */
const RETRACT_MAPPED = {
  setup: of_file,
  ...against(function* ({ mm, X, truncate }) {
    yield* retract_page_tables(mm, ADDR);
    yield* folio_remove_rmap_pte(mm, X);
    yield* folio_put(X);
    yield* truncate();
  }),
};

const KSM = against(({ mm, pmdp, K }) => replace_page(mm, pmdp, ADDR, K));
const MPROTECT = against(({ mm, pmdp }) =>
  mprotect(mm, pmdp, ADDR, { writable: true }, { writable: false }),
);
const COLLAPSE = against(({ mm }) => collapse_huge_page(mm, ADDR));
const COPY = {
  setup: (m: Machine) => anonymous(m, true),
  ...against(({ mm }) => do_wp_page(mm, ADDR)),
};

/** The driver drops the page for reasons of its own: no notifier's method, so nobody waits for it. */
const drops = fn(function* drops({ kvm }: State): Steps<void> {
  yield* spin_lock(kvm.mmu_lock);
  if (yield* clear_spte(kvm, ADDR)) yield* flush_secondary_tlb(kvm);
  yield* spin_unlock(kvm.mmu_lock);
});

const drops_late = fn(function* drops_late({ kvm }: State): Steps<void> {
  yield* spin_lock(kvm.mmu_lock);
  const zapped = yield* clear_spte(kvm, ADDR);
  yield* spin_unlock(kvm.mmu_lock);
  if (zapped) yield* flush_secondary_tlb(kvm);
});

const dropped_by = (drop: (s: State) => Steps<void>) => ({
  run: { CPU0: drop, CPU1: MADVISE.run.CPU1 },
});

/** The hooks are there, and nobody is told. */
const NOT_TOLD = [
  patch(__mmu_notifier_invalidate_range_start, function* () {
    return true;
  }),
  patch(__mmu_notifier_invalidate_range_end, nop),
];

/** Only the bracket of the retraction is missing. */
const TABLE_NOT_TOLD = [
  patch(retract_page_table, function* (mm, addr, pmdp) {
    const pgtable = yield* detach_page_table(mm, addr, pmdp);
    if (pgtable) yield* pte_free_defer(mm, pgtable);
  }),
];

const FAULTING = [
  'madvise',
  'munmap',
  'reclaim',
  'migrate',
  'truncate',
  'retract',
  'retract, table not told',
  'retract, still mapped',
  'ksm',
  'mprotect',
  'collapse',
  'copy',
];

export default scenario<State>('secondary-mmu-no-pins', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup: (m) => anonymous(m),
  run: MADVISE.run,

  sometimes: {
    'the device loses its page': entered('CPU1', shadow_invalidate_range_start),
    'the device gets it, or the next one': only(FAULTING, returned(shadow_fault, true)),
  },

  variants: {
    madvise: safe(MADVISE),
    munmap: safe(MUNMAP),
    reclaim: safe(RECLAIM),
    migrate: safe(MIGRATE),
    truncate: safe(TRUNCATE),
    retract: safe(RETRACT),
    'retract, table not told': safe({ ...RETRACT, patches: TABLE_NOT_TOLD }),
    'retract, still mapped': safe(RETRACT_MAPPED),
    ksm: safe(KSM),
    mprotect: safe(MPROTECT),
    collapse: safe(COLLAPSE),
    copy: safe(COPY),
    'madvise, not told': fails('stale-translation', { ...MADVISE, patches: NOT_TOLD }),
    'munmap, not told': fails('stale-translation', { ...MUNMAP, patches: NOT_TOLD }),
    'reclaim, not told': fails('stale-translation', { ...RECLAIM, patches: NOT_TOLD }),
    'migrate, not told': fails('stale-translation', { ...MIGRATE, patches: NOT_TOLD }),
    'truncate, not told': fails('stale-translation', { ...TRUNCATE, patches: NOT_TOLD }),
    'retract, still mapped, not told': fails(['stale-translation', 'property'], {
      ...RETRACT_MAPPED,
      patches: TABLE_NOT_TOLD,
    }),
    'ksm, not told': fails('stale-translation', { ...KSM, patches: NOT_TOLD }),
    'collapse, not told': fails('stale-translation', { ...COLLAPSE, patches: NOT_TOLD }),
    'dropped, flushed under the lock': safe(dropped_by(drops)),
    // Anywhere else it may not: the method finds the entry gone, and waits for nobody.
    'dropped, flushed after the lock': fails('stale-translation', dropped_by(drops_late)),
  },
});
