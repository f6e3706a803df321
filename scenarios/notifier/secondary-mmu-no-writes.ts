// A device may store to a page, and each of the primary MMU's operations needs to know who stores to it from now
// on: fork() and KSM share it, writeback makes it clean, mprotect() and userfaultfd take the permission away.
// No page is taken away, so no page is freed too early: what is lost is what the device stores.
// linux v6.12 mm/memory.c (copy_page_range), mm/ksm.c (write_protect_page), mm/rmap.c (page_vma_mkclean_one),
// mm/mprotect.c; specification of the secondary MMUs, section 1.1 and K20.
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
  FOLL_WRITE,
  PAGE_SIZE,
  bug_on,
  device_store,
  dup_mmap,
  kernel_of,
  memcpy_from_page,
  __mmu_notifier_invalidate_range_end,
  __mmu_notifier_invalidate_range_start,
  mprotect,
  mwriteprotect_range,
  new_anon_page,
  new_file_page,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_shadow,
  pmd_off,
  registered,
  shadow_fault,
  shadow_invalidate_range_start,
  shadow_ops,
  try_to_merge_one_page,
  write_protect_page,
  writepage,
  type Mm,
  type Page,
  type Pmdp,
  type Shadow,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x2000;

interface State {
  readonly mm: Mm;
  readonly child: Mm;
  readonly X: Page;
  /** The page that KSM has for what X says now. */
  readonly K: Page;
  readonly pmdp: Pmdp;
  readonly kvm: Shadow;
}

/** X is mapped by the process and (`by`) by the device, writable. The child has its tables. */
function mapped(m: Machine, X: Page, by: 'both' | 'process' = 'both'): State {
  const pages = { [ADDR]: X, [NEIGHBOUR]: new_anon_page(m, 'Y') };
  const mm = new_mm(m, 'mm', pages, { on: [] });
  const child = new_mm(m, 'child', { [NEIGHBOUR]: new_anon_page(m, 'Z') }, { on: [] });
  const kvm = new_shadow(m, mm, 'kvm', { mapped: by === 'both' ? { [ADDR]: X } : {} });
  registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(kvm)));
  return { mm, child, X, kvm, pmdp: pmd_off(m, mm, ADDR), K: new_page(m, 'K', 1) };
}

/** X is a page of a file, and dirty, because the device maps it for writing. */
function of_file(m: Machine): State {
  const X = new_file_page(m, 'X');
  m.memory.store(kernel_of(m).folio(X).PG_dirty, 1);
  return mapped(m, X);
}

/** The device stores. Where its tables do not let it, it faults, once. */
const stores = fn(function* stores({ kvm }: State): Steps<boolean> {
  if (yield* device_store(kvm, ADDR, 100n)) return true;
  if (!(yield* shadow_fault(kvm, ADDR, FOLL_WRITE))) return false;
  return yield* device_store(kvm, ADDR, 100n);
});

interface Operation {
  readonly setup?: (m: Machine) => State;
  readonly run: { readonly CPU1: (s: State) => Steps<unknown> };
}

/** Who has done `change` relies on it that the page says the same from now on. */
const relies = (change: (s: State) => Steps<unknown>, who: string) => ({
  run: {
    CPU0: stores,
    *CPU1(s: State) {
      yield* change(s);
      const then = yield* memcpy_from_page(s.X, 0);
      const now = yield* memcpy_from_page(s.X, 0);
      yield* bug_on(then !== now, 'X', `${who}, and the device has stored to X.`);
    },
  },
});

const FORK = relies(({ mm, child }) => dup_mmap(child, mm, ADDR), 'The child has X as well');
const KSM = relies(({ mm }) => write_protect_page(mm, ADDR), 'KSM compares X');
const UFFD = relies(({ mm }) => mwriteprotect_range(mm, ADDR), 'X is write-protected');
const MPROTECT = relies(
  ({ mm, pmdp }) => mprotect(mm, pmdp, ADDR, { writable: true }, { writable: false }),
  'X is read-only',
);
const WRITEBACK = {
  setup: of_file,
  run: { CPU0: stores, CPU1: ({ mm, X }: State) => writepage(mm, X) },
};

/** Somebody else has a reference on X, so that one can see what became of it. The device never faults. */
const MERGE = {
  setup: (m: Machine) => mapped(m, new_page(m, 'X', 1)),
  run: {
    CPU0: ({ kvm }: State) => device_store(kvm, ADDR, 100n),
    *CPU1({ mm, X, K }: State) {
      if (!(yield* try_to_merge_one_page(mm, ADDR, K))) return;
      const [left, instead] = [yield* memcpy_from_page(X, 0), yield* memcpy_from_page(K, 0)];
      yield* bug_on(left !== instead, 'X', 'K is in the place of X, and does not say the same.');
    },
  },
};

/** What is shared on purpose stays writable on both sides. */
const FORK_SHARED = {
  run: {
    *CPU0({ kvm }: State) {
      yield* shadow_fault(kvm, ADDR, FOLL_WRITE);
      return yield* device_store(kvm, ADDR, 100n);
    },
    CPU1: ({ mm, child }: State) => dup_mmap(child, mm, ADDR, PAGE_SIZE, { is_cow: false }),
  },
};

/** The hooks are there, and nobody is told. */
const NOT_TOLD = [
  patch(__mmu_notifier_invalidate_range_start, function* () {
    return true;
  }),
  patch(__mmu_notifier_invalidate_range_end, nop),
];
const NO_END = [patch(__mmu_notifier_invalidate_range_end, nop)];

/** Another page of the device is nobody's business; only that nothing is being invalidated for ever. */
const endless = ({ setup, run: { CPU1 } }: Operation) => ({
  ...(setup && { setup }),
  run: { CPU0: ({ kvm }: State) => shadow_fault(kvm, NEIGHBOUR), CPU1 },
  patches: NO_END,
});

const TOLD = ['fork', 'ksm', 'userfaultfd', 'mprotect', 'writeback'];

export default scenario<State>('secondary-mmu-no-writes', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup: (m) => mapped(m, new_anon_page(m, 'X'), 'process'),
  run: FORK.run,

  sometimes: {
    'the device loses its page': only(TOLD, entered('CPU1', shadow_invalidate_range_start)),
    'the device stores': only(
      [...TOLD, 'fork, shared', 'ksm, merging'],
      returned(device_store, true),
    ),
    'the pages are merged': only(['ksm, merging'], returned(try_to_merge_one_page, true)),
    'they are not': only(['ksm, merging'], returned(try_to_merge_one_page, false)),
    'the device may not store any more': only(TOLD, returned(stores, false)),
  },

  variants: {
    fork: safe(FORK),
    // Nothing is taken away from the parent, so nobody is told.
    'fork, shared': safe(FORK_SHARED),
    ksm: safe(KSM),
    'ksm, merging': safe(MERGE),
    userfaultfd: safe(UFFD),
    mprotect: safe(MPROTECT),
    writeback: safe(WRITEBACK),
    'fork, not told': fails('property', { ...FORK, patches: NOT_TOLD, shows: ['K20'] }),
    'ksm, not told': fails('property', { ...KSM, patches: NOT_TOLD, shows: ['K20'] }),
    'ksm, merging, not told': fails('property', { ...MERGE, patches: NOT_TOLD }),
    'userfaultfd, not told': fails('property', { ...UFFD, patches: NOT_TOLD }),
    'mprotect, not told': fails('property', { ...MPROTECT, patches: NOT_TOLD }),
    // The page is clean, and what the device stores through its entry is on no disk.
    'writeback, not told': fails('lost-write', { ...WRITEBACK, patches: NOT_TOLD }),
    'fork, no end': fails(['livelock', 'property'], endless(FORK)),
    'ksm, no end': fails(['livelock', 'property'], endless(KSM)),
    'writeback, no end': fails(['livelock', 'property'], endless(WRITEBACK)),
  },
});
