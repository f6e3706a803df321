// Two MADV_DONTNEED of one range at once, under mmap_lock for reading: may one return before the other flushes?
// linux v6.12 mm/mmu_gather.c (tlb_finish_mmu), include/linux/mm_types.h (mm_tlb_flush_pending), linux commit
// 7a30df49f63a; specification section 3.3.
import { fails, nop, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  madvise_dontneed,
  mm_tlb_flush_nested,
  new_huge_page,
  new_mm,
  new_page,
  tlb_flush_nested,
  user_load,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
}

/** How much a PMD entry maps. */
const PMD_SIZE = 0x200000;

/** A huge page and a small one, at `huge` and at `small` in the next table or the one before. */
function twoLevels(huge: number, small: number) {
  const range = [0, 2 * PMD_SIZE] as const;
  return {
    setup(m: Machine): State {
      const pages = { [huge]: new_huge_page(m, 'H'), [small]: new_page(m, 'X') };
      return { mm: new_mm(m, 'mm', pages, { huge: { [huge]: 1 } }) };
    },
    run: {
      CPU0: ({ mm }: State) => madvise_dontneed(mm, ...range),
      *CPU1({ mm }: State) {
        yield* madvise_dontneed(mm, ...range);
        yield* user_load(mm, huge);
        yield* user_load(mm, small);
      },
    },
  };
}

const HUGE_FIRST = twoLevels(0, PMD_SIZE + ADDR);
const HUGE_LAST = twoLevels(PMD_SIZE, ADDR);

/** All addresses, but only the level at which this side has cleared something. */
const OWN_LEVEL = [
  patch(tlb_flush_nested, function* (tlb) {
    if (!(yield* mm_tlb_flush_nested(tlb.mm))) return;
    tlb.fullmm = true;
    if (tlb.cleared.length === 0) tlb.freed_tables = true;
  }),
];

export default scenario<State>('nested-unmapping', {
  machine: arm64({ cpus: 2 }),

  setup: (m: Machine) => ({ mm: new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }) }),

  run: {
    CPU0: ({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE),
    *CPU1({ mm }) {
      yield* madvise_dontneed(mm, ADDR, PAGE_SIZE);
      return yield* user_load(mm, ADDR); // what it asked to be forgotten
    },
  },

  sometimes: {
    'the other one is still pending': returned(mm_tlb_flush_nested, true),
    'the address is empty afterwards': returned(user_load, null),
  },

  variants: {
    'flush if nested': safe(),
    'each flushes its own': fails(['stale-translation'], {
      patches: [patch(tlb_flush_nested, nop)],
    }),
    // A huge page and a small one. A flush may name the level of the entries that it is for (TTL), and does so
    // if only one level was cleared; what the other side has cleared may be of another.
    'huge page first': safe(HUGE_FIRST),
    'huge page last': safe(HUGE_LAST),
    'huge page first, own level': fails('stale-translation', {
      shows: ['M3.11'],
      ...HUGE_FIRST,
      patches: OWN_LEVEL,
    }),
    'huge page last, own level': fails('stale-translation', {
      shows: ['M3.11'],
      ...HUGE_LAST,
      patches: OWN_LEVEL,
    }),
  },
});
