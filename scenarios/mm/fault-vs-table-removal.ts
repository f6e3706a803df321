// A fault finds a page table without a lock and then locks it: may somebody have taken the table away by then?
// linux v6.12 mm/pgtable-generic.c (__pte_offset_map_lock), v6.14 mm/pt_reclaim.c; specification sections 6.1,
// 6.2 and 6.6 (M6.1, M6.4) and schedule L14.
import { fails, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  down_read,
  insert_page,
  madvise_dontneed,
  mm_find_pmd,
  munmap,
  new_mm,
  new_page,
  pmd_clear,
  pmd_lockptr,
  pmdp_get,
  pte_none,
  pte_offset_map_lock,
  ptep_get,
  offset_lockless,
  spin_lock,
  spin_unlock,
  try_get_and_clear_pmd,
  try_to_free_pte,
  up_read,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000; // keeps the upper tables in use
const TABLE = 0x200000; // what one page table covers

interface State {
  readonly mm: Mm;
  readonly D: Page;
}

/** A fault in a driver's mapping: D is put where nothing is mapped. */
function* fault({ mm, D }: State) {
  yield* down_read(mm.mmap_lock);
  const pmdp = yield* mm_find_pmd(mm, ADDR);
  if (pmdp) yield* insert_page(mm, pmdp, ADDR, D);
  yield* up_read(mm.mmap_lock);
}

/** munmap() takes no page-table lock when it unhooks tables: mmap_lock keeps everybody else out. */
const MUNMAP = { run: { CPU0: fault, CPU1: ({ mm }: State) => munmap(mm, ADDR, TABLE - ADDR) } };

/** The upper lock is taken: the table is looked at again when both locks could be had. */
const UPPER_LOCK_BUSY = patch(try_get_and_clear_pmd, function* () {
  return null;
});

/** As the remover would be with the upper lock alone. */
const WITHOUT_PTL = patch(try_to_free_pte, function* (mm, pmdp, addr) {
  const pml = pmd_lockptr(mm, pmdp);
  yield* spin_lock(pml);
  const pmdval = yield* pmdp_get(pmdp);
  const isEmpty = pmdval.table && pte_none(yield* ptep_get(offset_lockless(mm, pmdval, 0, addr)));
  if (isEmpty) yield* pmd_clear(pmdp);
  yield* spin_unlock(pml);
  return isEmpty ? pmdval : null;
});

export default scenario<State>('fault-vs-table-removal', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const pages = { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') };
    return { mm: new_mm(m, 'mm', pages, { on: ['CPU1'] }), D: new_page(m, 'D', 1) };
  },

  config: { PT_RECLAIM: true },

  run: {
    CPU0: fault,
    CPU1: ({ mm }) => madvise_dontneed(mm, 0, TABLE),
  },

  sometimes: {
    'the table is gone': returned(pte_offset_map_lock, null),
    'the fault locks the table': returned(pte_offset_map_lock, (locked) => locked !== null),
    'the table is found filled again': only(['upper lock busy'], returned(try_to_free_pte, null)),
  },

  variants: {
    'the PMD entry is read again': safe(),
    // M6.1: the fault fills a table that is linked nowhere.
    'not read again': fails('leak', {
      shows: ['M6.1', 'L14'],
      without: ['the re-check of the PMD entry in pte_offset_map_lock()'],
    }),
    'upper lock busy': safe({ patches: [UPPER_LOCK_BUSY] }),
    'not looked at again': fails('leak', {
      patches: [UPPER_LOCK_BUSY],
      without: ['the second look at the entries in try_to_free_pte()'],
    }),
    // M6.4: the fault holds the lock of the table while it is unhooked.
    'upper lock alone': fails('leak', {
      shows: ['M6.4'],
      patches: [UPPER_LOCK_BUSY, WITHOUT_PTL],
    }),
    munmap: safe(MUNMAP),
    'munmap, no mmap_lock': fails('leak', { ...MUNMAP, without: ['the lock mmap_lock'] }),
  },
});
