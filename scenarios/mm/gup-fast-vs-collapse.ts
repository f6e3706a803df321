// GUP-fast vs khugepaged: the small pages of a range become one huge page while somebody looks one up.
// linux v6.12 mm/gup.c, mm/khugepaged.c; specification sections 1, 6.2 and 9.2, schedules L1 and L2.
// 70cbc3cc78a9 "mm: gup: fix the fast GUP race against THP collapse": the second look at the PMD entry.
// 2ba99c5e0881 "mm/khugepaged: fix GUP-fast interaction by sending IPI": the interrupt.
import {
  fails,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  touched,
  type Machine,
} from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  collapse_huge_page,
  folio_put,
  get_user_pages_fast,
  gup_entries_unchanged,
  gup_fast,
  gup_fast_fallback,
  gup_fast_pte_range,
  is_refcount_suitable,
  memcpy_to_page,
  munmap,
  new_anon_page,
  new_mm,
  offset_lockless,
  pmdp_get,
  pte_table,
  ptep_get,
  ptep_get_lockless,
  same,
  tlb_remove_table_sync_one,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly pteA: Page;
}

/** Only the PTE is looked at again, as before 70cbc3cc78a9. */
const NO_PMD_RECHECK = patch(gup_entries_unchanged, function* (_pmd, _pmdp, pte, ptep) {
  return same(pte, yield* ptep_get(ptep));
});
const NO_SYNC = patch(tlb_remove_table_sync_one, nop);

/** The range is collapsed and unmapped: the page table that was put aside is freed with the huge page. */
const COLLAPSE_AND_UNMAP = {
  CPU0: ({ mm }: State) => get_user_pages_fast(mm, ADDR),
  *CPU1({ mm }: State) {
    yield* collapse_huge_page(mm, ADDR);
    yield* munmap(mm, ADDR, PAGE_SIZE);
  },
};

/** Direct I/O: what is written through the reference belongs to the address. */
const WRITER = {
  *CPU0({ mm }: State) {
    const page = yield* get_user_pages_fast(mm, ADDR);
    if (!page) return;
    yield* memcpy_to_page(page, 0, 1n);
    yield* folio_put(page);
  },
  CPU1: ({ mm }: State) => collapse_huge_page(mm, ADDR),
};

/** The table is computed from a second load of the PMD entry, not from the copy that was judged. */
const PMD_READ_TWICE = patch(gup_fast_pte_range, function* (mm, _pmd, pmdp, addr) {
  const again = yield* pmdp_get(pmdp);
  yield* ptep_get_lockless(offset_lockless(mm, again, 0, addr));
  return null;
});

const LOOKUPS = ['both', 'no sync-one', 'recheck of the PTE only', 'both, written to'];
const UNMAPPED = ['both, then unmapped', 'recheck of the PTE only, then unmapped'];

export default scenario<State>('gup-fast-vs-collapse', {
  machine: arm64({ cpus: 2 }),

  setup(m: Machine) {
    const X = new_anon_page(m, 'X');
    const mm = new_mm(m, 'mm', { [ADDR]: X });
    return { mm, X, pteA: pte_table(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm }) => collapse_huge_page(mm, ADDR),
  },

  sometimes: {
    'the small page is returned, and there is no collapse': only(
      [...LOOKUPS, ...UNMAPPED],
      returned(is_refcount_suitable, false),
    ),
    'the lookup falls back': returned(gup_fast, null),
    'the page is replaced': returned(collapse_huge_page, true),
    'the lookup is in the table that is put aside': only(
      ['both', 'no sync-one', 'recheck of the PTE only'],
      touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    ),
  },

  variants: {
    // mm:C9, all four: the interrupt makes the second look at the PMD entry redundant for what is returned,
    both: safe({ shows: ['mm:C9'] }),
    'recheck of the PTE only': safe({ shows: ['mm:C9'], patches: [NO_PMD_RECHECK] }),
    // and the second look alone is enough as long as the table stays where it is (see below).
    'no sync-one': safe({ patches: [NO_SYNC] }),
    // M1.5, schedule L1.
    neither: fails('wrong-page', {
      shows: ['M1.5', 'L1', 'mm:C9'],
      patches: [NO_PMD_RECHECK, NO_SYNC],
    }),
    // M1.6 where the table is put aside: it is freed with the huge page, and nobody waits then.
    'both, then unmapped': safe({ run: COLLAPSE_AND_UNMAP }),
    'recheck of the PTE only, then unmapped': safe({
      run: COLLAPSE_AND_UNMAP,
      patches: [NO_PMD_RECHECK],
    }),
    'no sync-one, then unmapped': fails('use-after-free', {
      shows: ['M1.6', 'mm:C9', 'bug:khugepaged-gupfast-table-free'],
      run: COLLAPSE_AND_UNMAP,
      patches: [NO_SYNC],
    }),
    'neither, then unmapped': fails(['use-after-free', 'wrong-page'], {
      run: COLLAPSE_AND_UNMAP,
      patches: [NO_PMD_RECHECK, NO_SYNC],
    }),
    // The slow path finds the small page, or the huge one.
    'slow path': safe({
      run: {
        CPU0: ({ mm }) => gup_fast_fallback(mm, ADDR),
        CPU1: ({ mm }) => collapse_huge_page(mm, ADDR),
      },
    }),
    // What L1 leads to: the caller writes to a page that the process does not see any more.
    'both, written to': safe({ run: WRITER }),
    'neither, written to': fails(['wrong-page', 'lost-write'], {
      run: WRITER,
      patches: [NO_PMD_RECHECK, NO_SYNC],
    }),
    // M1.7: the second load says none, or a huge page, whose data are then read as page-table entries.
    'pmd read twice': fails(['null-dereference', 'wrong-page'], {
      shows: ['M1.7'],
      patches: [PMD_READ_TWICE, NO_SYNC],
    }),
    // Where the flush is an interrupt, it waits for the walk as well.
    ipi: safe({ machine: x86_64({ cpus: 2 }), patches: [NO_SYNC] }),
    'ipi, sync-one': safe({ machine: x86_64({ cpus: 2 }) }),
  },
});
