// Two MADV_DONTNEED of one range: the second finds nothing to flush.  linux mm/memory.c, 2017.
import { fails, fn, patch, returned, safe, scenario, type Steps } from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  madvise_dontneed,
  mm_tlb_flush_nested,
  new_mm,
  new_page,
  user_load,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
}

/** A thread of the process: when madvise() has returned, the old contents are gone. */
const forget_and_look = fn(function* forget_and_look(mm: Mm): Steps<bigint | null> {
  yield* madvise_dontneed(mm, ADDR, PAGE_SIZE);
  return yield* user_load(mm, ADDR);
});

export default scenario<State>('madvise-parallel-zap', {
  title: 'madvise: the second of two MADV_DONTNEED returns before the first has flushed',
  citation:
    'linux commit 99baac21e458 (the id is from memory), "mm: fix MADV_[FREE|DONTNEED] TLB flush miss problem", 2017',
  story:
    'MADV_DONTNEED takes mmap_lock for reading, so two threads can forget the same range at once. The first clears ' +
    'the entries and collects what it has to flush. The second finds them empty, has nothing to flush, and returns: ' +
    'its thread goes on reading, and writing, the old pages through the TLB. The cure counts unmappings whose flush is ' +
    'to come; who ends while there are others flushes everything.',

  machine: arm64({ cpus: 2 }),

  setup: (m) => ({ mm: new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }) }),

  run: {
    CPU0: ({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE),
    CPU1: ({ mm }) => forget_and_look(mm),
  },

  sometimes: {
    'another unmapping is going on': returned(mm_tlb_flush_nested, true),
    'the page is gone': returned(user_load, null),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:madvise-parallel-zap'],
      patches: [
        patch(mm_tlb_flush_nested, function* () {
          return false;
        }),
      ],
    }),
    fixed: safe(),
  },
});
