// "None" does not mean flushed.  linux mm/mprotect.c and mm/rmap.c, 2017.
import { entered, fails, fn, nop, patch, returned, safe, scenario, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  arch_flush_tlb_batched_pending,
  flush_tlb_batched_pending,
  mprotect,
  new_file,
  new_mm,
  new_page_of_file,
  pmd_off,
  shrink_folio_list,
  user_store,
  type Mm,
  type Page,
  type Pmdp,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly pmdp: Pmdp;
  readonly X: Page;
}

/** A thread of the process: when mprotect() has returned, nobody stores to the page. */
const protect_and_store = fn(function* protect_and_store({ mm, pmdp }: State): Steps<boolean> {
  yield* mprotect(mm, pmdp, ADDR, { writable: true }, { writable: false });
  return yield* user_store(mm, ADDR, 1n);
});

export default scenario<State>('reclaim-batch-vs-mprotect', {
  title: 'mprotect, madvise, munmap: an empty entry whose flush reclaim has put off',
  citation:
    'linux commit 3ea277194daa, "mm, mprotect: flush TLB if potentially racing with a parallel reclaim leaving stale TLB entries", 2017',
  story:
    'Reclaim clears the entries of many pages and flushes once for all of them. In between, the page-table lock is ' +
    'free. mprotect() found an entry empty, concluded that there was nothing to flush, and returned; threads went on ' +
    'writing through the TLB to what had just been protected. The cure remembers, per address space, that a flush was ' +
    'put off, and whoever takes the lock makes up for it first.',

  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const file = new_file(m, 'F', { shmem: false });
    const X = new_page_of_file(m, 'X', file);
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: ['CPU1'], rwsem: file.i_mmap_rwsem });
    return { mm, X, pmdp: pmd_off(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ mm, X }) => shrink_folio_list(mm, X),
    CPU1: (state) => protect_and_store(state),
  },

  sometimes: {
    'the other side makes up for a flush': entered('CPU1', arch_flush_tlb_batched_pending),
    'the store faults': returned(user_store, false),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:reclaim-batch-vs-mprotect'],
      patches: [patch(flush_tlb_batched_pending, nop)],
    }),
    fixed: safe(),
  },
});
