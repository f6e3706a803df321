// GUP-fast vs the retraction of page tables: a file's range loses its page table, without mmap_lock.
// linux v6.12 mm/gup.c, mm/khugepaged.c (retract_page_tables); specification 6.2 (a), M1.6 and schedule L2.
import { fails, only, patch, returned, safe, scenario, touched, type Machine } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  get_user_pages_fast,
  new_file,
  new_page_of_file,
  new_mm,
  pte_free,
  pte_free_defer,
  pte_table,
  retract_page_tables,
  tlb_remove_table_sync_one,
  unmap_mapping_folio,
  walk_page_range_rcu,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly pteA: Page;
}

function* retract({ mm, X }: State) {
  yield* unmap_mapping_folio(mm, X);
  yield* retract_page_tables(mm, ADDR);
}

const RCU_WALKER = {
  CPU0: ({ mm }: State) => walk_page_range_rcu(mm, ADDR),
  CPU1: retract,
};

/** As before 2ba99c5e0881: at once. */
const FREED_AT_ONCE = patch(pte_free_defer, function* (_mm, pgtable) {
  yield* pte_free(pgtable);
});
/** As up to linux 6.4: an interrupt to all, then at once. */
const SYNC_ONE = patch(pte_free_defer, function* (mm, pgtable) {
  yield* tlb_remove_table_sync_one(mm);
  yield* pte_free(pgtable);
});

export default scenario<State>('gup-fast-vs-retract', {
  machine: arm64({ cpus: 2 }),

  setup(m: Machine) {
    const file = new_file(m, 'F', { shmem: true });
    const X = new_page_of_file(m, 'X', file);
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { rwsem: file.i_mmap_rwsem });
    return { mm, X, pteA: pte_table(m, mm, ADDR) };
  },

  foreign: 1,

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: retract,
  },

  sometimes: {
    'the walker reads an unlinked table': touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    'the walker reads a table waiting for RCU': only(
      ['defer', 'rcu-only walker'],
      touched('CPU0', ({ pteA }) => pteA, 'pending'),
    ),
    'the page is returned': only(
      ['defer', 'ipi', 'sync-one'],
      returned(get_user_pages_fast, (page) => page !== null),
    ),
  },

  variants: {
    defer: safe(),
    ipi: safe({ machine: x86_64({ cpus: 2 }) }),
    'freed at once': fails('use-after-free', {
      shows: ['M1.6', 'L2', 'bug:khugepaged-gupfast-table-free'],
      patches: [FREED_AT_ONCE],
    }),
    'sync-one': safe({ patches: [SYNC_ONE] }),
    'ipi, freed at once': safe({ machine: x86_64({ cpus: 2 }), patches: [FREED_AT_ONCE] }),
    'rcu-only walker': safe({ run: RCU_WALKER }),
    'rcu-only walker, sync-one': fails('use-after-free', {
      shows: ['M6.5'],
      run: RCU_WALKER,
      patches: [SYNC_ONE],
    }),
  },
});
