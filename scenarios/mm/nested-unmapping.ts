// Two MADV_DONTNEED of one page at once, under mmap_lock for reading: may one return before the other flushes?
// linux v6.12 mm/mmu_gather.c (tlb_finish_mmu), include/linux/mm_types.h (mm_tlb_flush_pending);
// specification section 3.3.
import { fails, nop, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  madvise_dontneed,
  mm_tlb_flush_nested,
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
  },
});
