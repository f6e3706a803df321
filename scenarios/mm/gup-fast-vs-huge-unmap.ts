// GUP-fast on huge pages vs their unmapping: the entry of a higher level is the only one to look at again.
// linux v6.12 mm/gup.c (gup_fast_pmd_leaf, gup_fast_pud_leaf), mm/huge_memory.c; specification section 1.1.
import { fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  get_user_pages_fast,
  gup_fast,
  gup_leaf_unchanged,
  munmap,
  new_huge_page,
  new_mm,
  pin_user_pages_fast,
  unmap_huge_pud,
  unpin_user_page,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x40000000;

interface State {
  readonly mm: Mm;
}

/** The page at ADDR is mapped by the PMD entry (level 1) or by the PUD entry (level 2). */
function huge(level: 1 | 2) {
  return (m: Machine): State => {
    const mm = new_mm(m, 'mm', { [ADDR]: new_huge_page(m, 'H') }, { huge: { [ADDR]: level } });
    return { mm };
  };
}

const NO_RECHECK = patch(gup_leaf_unchanged, function* () {
  return true;
});

const PUD = {
  CPU0: ({ mm }: State) => get_user_pages_fast(mm, ADDR + PAGE_SIZE),
  CPU1: ({ mm }: State) => unmap_huge_pud(mm, ADDR),
};

/** A pin of a large folio is counted in its own counter. */
const PINNED = {
  *CPU0({ mm }: State) {
    const page = yield* pin_user_pages_fast(mm, ADDR);
    if (page) yield* unpin_user_page(mm, page);
  },
  CPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE),
};

export default scenario<State>('gup-fast-vs-huge-unmap', {
  machine: arm64({ cpus: 2 }),
  setup: huge(1),
  foreign: 1,

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'the huge page is returned': returned(gup_fast, (page) => page !== null),
    'the lookup falls back': returned(gup_fast, null),
  },

  variants: {
    pmd: safe(),
    'pmd, ipi': safe({ machine: x86_64({ cpus: 2 }) }),
    'pmd, no re-check': fails('wrong-page', { patches: [NO_RECHECK] }),
    'pmd, pinned': safe({ run: PINNED }),
    pud: safe({ setup: huge(2), run: PUD }),
    'pud, no re-check': fails('wrong-page', {
      setup: huge(2),
      run: PUD,
      patches: [NO_RECHECK],
    }),
  },
});
