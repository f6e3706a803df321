// Reclaim has cleared an entry and put off the flush; somebody else comes and finds the entry empty.
// linux v6.12 mm/rmap.c (set_tlb_ubc_flush_pending, flush_tlb_batched_pending); specification sections 3.5 and
// 8.6, K2 of the bug bank.
import {
  entered,
  fails,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
} from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  arch_flush_tlb_batched_pending,
  flush_tlb_batched_pending,
  madvise_dontneed,
  mm_find_pmd,
  mprotect,
  munmap,
  new_file,
  new_mm,
  new_page,
  new_page_of_file,
  set_tlb_ubc_flush_pending,
  shrink_folio_list,
  user_load,
  user_store,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
}

const kswapd = ({ mm, X }: State) => shrink_folio_list(mm, X);

const MUNMAP = {
  CPU0: kswapd,
  CPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE),
};

/** The page becomes read-only, and then its thread stores to it. */
const MPROTECT = {
  CPU0: kswapd,
  *CPU1({ mm }: State) {
    const pmdp = yield* mm_find_pmd(mm, ADDR);
    if (!pmdp) return;
    yield* mprotect(mm, pmdp, ADDR, { writable: true }, { writable: false });
    yield* user_store(mm, ADDR, 1n);
  },
};

const X86 = { machine: x86_64({ cpus: 2 }) };

/** An empty entry is taken for a flushed one. */
const NOT_ASKED = [patch(flush_tlb_batched_pending, nop)];

export default scenario<State>('reclaim-batch-vs-zap', {
  machine: arm64({ cpus: 2 }),

  setup(m: Machine) {
    const file = new_file(m, 'F', { shmem: false });
    const X = new_page_of_file(m, 'X', file);
    const pages = { [ADDR]: X, [ADDR + PAGE_SIZE]: new_page(m, 'Y') }; // its table stays, and with it no flush is due
    return { X, mm: new_mm(m, 'mm', pages, { rwsem: file.i_mmap_rwsem }) };
  },

  run: {
    CPU0: kswapd,
    *CPU1({ mm }) {
      yield* madvise_dontneed(mm, ADDR, PAGE_SIZE);
      yield* user_load(mm, ADDR);
    },
  },

  sometimes: {
    'a flush was put off, and is made up for': entered('CPU1', arch_flush_tlb_batched_pending),
    'the page is reclaimed': returned(shrink_folio_list, true),
    'the store faults': only(['mprotect', 'mprotect, x86'], returned(user_store, false)),
  },

  variants: {
    madvise: safe(),
    'madvise, x86': safe(X86),
    munmap: safe({ run: MUNMAP }),
    mprotect: safe({ run: MPROTECT }),
    'mprotect, x86': safe({ ...X86, run: MPROTECT }),
    'madvise, not asked': fails('stale-translation', { patches: NOT_ASKED }),
    'munmap, not asked': fails('stale-translation', {
      shows: ['M8.7'],
      run: MUNMAP,
      patches: NOT_ASKED,
    }),
    'mprotect, not asked': fails('stale-translation', {
      shows: ['M8.7'],
      run: MPROTECT,
      patches: NOT_ASKED,
    }),
    'mprotect, x86, not asked': fails('stale-translation', {
      ...X86,
      run: MPROTECT,
      patches: NOT_ASKED,
    }),
    'nobody is told': fails('stale-translation', {
      patches: [patch(set_tlb_ubc_flush_pending, nop)],
    }),
  },
});
