// A page table freed while walk caches lead to it.  linux arch/arm64, 2015.
import { fails, patch, safe, scenario, touched } from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  __tlb_remove_table,
  get_user_pages_fast,
  munmap,
  new_mm,
  new_page,
  pte_table,
  tlb_remove_table,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly mm: Mm;
  readonly pteA: Page;
}

export default scenario<State>('arm64-walkcache-table-free', {
  title: 'arm64: a table of a process with one thread is freed before the TLBI',
  citation:
    'linux commit 285994a62c80, "arm64: Invalidate the TLB corresponding to intermediate page table levels", 2015',
  story:
    'When nobody else used the address space, a table went back to the allocator at once, and the one TLBI came ' +
    'at the end of the unmapping. But processors cache the upper levels of a walk. A CPU that had run the process ' +
    'still had the entry that led to the table, and walked into whatever the page had become. The cure invalidates ' +
    'before a table can be freed, whoever else uses the address space.',

  machine: arm64({ cpus: 2 }),
  foreign: 1,

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') });
    return { mm, pteA: pte_table(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
    // The walker of the fixed form: it shows that the table is really given back.
    CPU1: ({ mm }) => get_user_pages_fast(mm, ADDR),
  },

  sometimes: {
    'a walker meets the unlinked table': touched('CPU1', ({ pteA }) => pteA, 'unlinked'),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:arm64-walkcache-table-free'],
      // Nobody walks in software here: one thread.
      run: { CPU0: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE) },
      patches: [
        patch(tlb_remove_table, function* (_tlb, table) {
          yield* __tlb_remove_table(table); // atomic_read(&mm->mm_users) < 2
        }),
      ],
    }),
    fixed: safe(),
  },
});
