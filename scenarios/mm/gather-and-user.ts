// munmap() while a thread of the same process uses the memory: what may it still reach?
// linux v6.12 mm/mmu_gather.c (tlb_flush_mmu, tlb_table_flush); specification section 3.1, schedule L6.
import { fails, nop, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  munmap,
  new_mm,
  new_page,
  tlb_batch_pages_flush,
  tlb_flush_mmu,
  tlb_flush_mmu_tlbonly,
  tlb_table_flush,
  tlb_table_invalidate,
  user_store,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly mm: Mm;
}

/** The user has stored before: a cached translation is good for another store without a look at the entry. */
const STORED = { dirty: true };

const ONE_PAGE_PER_BATCH = { MAX_GATHER_BATCH: 1 };
const ONE_TABLE_PER_BATCH = { MAX_TABLE_BATCH: 1 };

/** Two neighbouring pages, so that a batch of one is full before the last. */
const TWO_PAGES = {
  setup(m: Machine): State {
    const [X, Z] = [new_page(m, 'X'), new_page(m, 'Z')];
    const pages = { [ADDR]: X, [ADDR + PAGE_SIZE]: Z, [NEIGHBOUR]: new_page(m, 'Y') };
    return { mm: new_mm(m, 'mm', pages, STORED) };
  },
  run: {
    CPU0: ({ mm }: State) => user_store(mm, ADDR, 100n),
    CPU1: ({ mm }: State) => munmap(mm, ADDR, 2 * PAGE_SIZE),
  },
};

/** Pages go back before the flush. */
const PAGES_FIRST = [
  patch(tlb_flush_mmu, function* (tlb) {
    yield* tlb_batch_pages_flush(tlb);
    yield* tlb_flush_mmu_tlbonly(tlb);
    yield* tlb_table_flush(tlb);
  }),
];

export default scenario<State>('gather-and-user', {
  machine: x86_64({ cpus: 2 }),

  setup: (m: Machine) => ({
    mm: new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') }, STORED),
  }),

  foreign: 1, // what is freed belongs to somebody else a moment later

  run: {
    CPU0: ({ mm }) => user_store(mm, ADDR, 100n),
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'the store reaches the page': returned(user_store, true),
    'the store faults': returned(user_store, false),
  },

  variants: {
    'flush, then free': safe(),
    // M3.1: the store goes to a page that belongs to somebody else.
    'free, then flush': fails(['stale-translation', 'use-after-free'], {
      shows: ['M3.1'],
      patches: PAGES_FIRST,
    }),
    'arm64, flush, then free': safe({ machine: arm64({ cpus: 2 }) }),
    'arm64, free, then flush': fails(['stale-translation', 'use-after-free'], {
      machine: arm64({ cpus: 2 }),
      patches: PAGES_FIRST,
    }),
    // A full batch of pages is flushed in the middle, with entries still to come.
    'full batch of pages': safe({ ...TWO_PAGES, config: ONE_PAGE_PER_BATCH }),
    'full batch of pages, no flush': fails(['stale-translation', 'use-after-free'], {
      ...TWO_PAGES,
      config: ONE_PAGE_PER_BATCH,
      patches: [patch(tlb_flush_mmu_tlbonly, nop)],
    }),
    // M3.3, L6: a full batch of tables goes to RCU, and a grace period waits for no hardware walk.
    'full batch of tables': safe({ config: ONE_TABLE_PER_BATCH }),
    'full batch of tables, no flush': fails(['stale-translation', 'use-after-free'], {
      shows: ['M3.3', 'L6'],
      config: ONE_TABLE_PER_BATCH,
      patches: [patch(tlb_table_invalidate, nop)],
    }),
  },
});
