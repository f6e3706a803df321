// munmap() frees page tables without taking their locks: what keeps walkers of the reverse mapping away?
// linux v6.12 mm/memory.c (free_pgtables), mm/rmap.c; specification section 3.3.
import { fails, nop, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  munmap,
  new_mm,
  new_page,
  page_vma_mapped_walk,
  pte_unmap_unlock,
  rmap_walk,
  tlb_finish_mmu,
  unlink_vma,
  unlink_vmas,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
}

/** folio_referenced(), try_to_unmap(): from the page to the entries that map it. */
function* walker({ mm, X }: State) {
  yield* rmap_walk(mm, X, function* (place) {
    const found = yield* page_vma_mapped_walk(X, place);
    if (found) yield* pte_unmap_unlock(found.ptl);
    return true;
  });
}

const TABLE_FREE = { MMU_GATHER_TABLE_FREE: true, MMU_GATHER_RCU_TABLE_FREE: false };

/** The tables first, then the VMA. */
const TABLES_FIRST = [
  patch(unlink_vmas, nop),
  patch(tlb_finish_mmu, function* (tlb) {
    yield* tlb_finish_mmu.body(tlb);
    for (const vma of tlb.mm.vmas) if (vma.start === ADDR) yield* unlink_vma(vma);
  }),
];

export default scenario<State>('rmap-vs-free-pgtables', {
  machine: x86_64({ cpus: 2 }),
  config: TABLE_FREE,

  // The walker's CPU does not run the address space: no flush waits for it.
  setup(m: Machine) {
    const X = new_page(m, 'X', 1);
    const pages = { [ADDR]: X, [NEIGHBOUR]: new_page(m, 'Y') };
    return { mm: new_mm(m, 'mm', pages, { on: ['CPU1'] }), X };
  },

  run: {
    CPU0: walker,
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'the page is found mapped': returned(page_vma_mapped_walk, (found) => found !== null),
    'the entry is gone': returned(page_vma_mapped_walk, null),
  },

  variants: {
    'VMA first': safe(),
    // M3.15: the walker is in a table whose lock the unmapper does not take.
    'tables first': fails('use-after-free', { shows: ['M3.15'], patches: TABLES_FIRST }),
    'VMA first, arm64': safe({
      machine: arm64({ cpus: 2 }),
      config: { MMU_GATHER_RCU_TABLE_FREE: true },
    }),
    // pte_offset_map() is an RCU section, but without memory for a batch there is no grace period.
    'VMA first, no memory': safe({
      config: { MMU_GATHER_RCU_TABLE_FREE: true },
      alloc: { GFP_NOWAIT: 'fails' },
    }),
    'tables first, no memory': fails('use-after-free', {
      shows: ['M3.15'],
      config: { MMU_GATHER_RCU_TABLE_FREE: true },
      alloc: { GFP_NOWAIT: 'fails' },
      patches: TABLES_FIRST,
    }),
  },
});
