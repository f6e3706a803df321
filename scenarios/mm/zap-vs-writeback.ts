// A dirty page of a file is unmapped while it is written to disk: can a store be lost?
// linux v6.12 mm/memory.c (zap_present_folio_ptes), mm/mmu_gather.c (tlb_flush_rmaps), mm/rmap.c
// (folio_mkclean); specification sections 3.5 and 8, schedule L8.
import { fails, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  folio_mkclean,
  madvise_dontneed,
  new_file_page,
  new_mm,
  ptep_clear_flush,
  ptep_get_and_clear,
  tlb_delay_rmap,
  user_store,
  writepage,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
}

/** The user stores twice: the second store may go through a translation that is marked dirty already. */
function* two_stores({ mm }: State) {
  yield* user_store(mm, ADDR, 100n);
  return yield* user_store(mm, ADDR, 200n);
}

const UNMAPPED = ['delayed rmap', 'rmap first'];

export default scenario<State>('zap-vs-writeback', {
  machine: x86_64({ cpus: 3 }),

  // The file is written back by a CPU that does not run the address space.
  setup(m: Machine) {
    const X = new_file_page(m, 'X');
    return { mm: new_mm(m, 'mm', { [ADDR]: X }, { on: ['CPU0', 'CPU1'] }), X };
  },

  run: {
    CPU0: two_stores,
    CPU1: ({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE),
    CPU2: ({ mm, X }) => writepage(mm, X),
  },

  sometimes: {
    'both stores reach the page': returned(user_store, true),
    'a store faults': returned(user_store, false),
    'the page is written to disk': returned(writepage, true),
    'writeback finds the page mapped': only(
      ['delayed rmap', 'mkclean flushes', 'mkclean without a flush'],
      returned(folio_mkclean, true),
    ),
    'the page is not mapped any more': only(UNMAPPED, returned(folio_mkclean, false)),
  },

  variants: {
    'delayed rmap': safe(),
    // M3.12, L8: writeback finds no mapping, and nobody notices what is stored until the flush.
    'rmap first': fails('lost-write', {
      shows: ['M3.12', 'L8'],
      patches: [
        patch(tlb_delay_rmap, function* () {
          return false;
        }),
      ],
    }),
    // The same obligation where nobody unmaps: a mapping is made clean only by a flush.
    'mkclean flushes': safe({
      run: { CPU0: two_stores, CPU2: ({ mm, X }) => writepage(mm, X) },
    }),
    'mkclean without a flush': fails('lost-write', {
      shows: ['M8.4'],
      run: { CPU0: two_stores, CPU2: ({ mm, X }) => writepage(mm, X) },
      patches: [
        patch(ptep_clear_flush, function* (_mm, _addr, ptep) {
          return yield* ptep_get_and_clear(ptep);
        }),
      ],
    }),
  },
});
