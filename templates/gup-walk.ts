// A lockless page-table walk against munmap().  Which protection keeps the table alive?
import { fails, nop, patch, returned, safe, scenario, touched } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  get_user_pages_fast,
  local_irq_save,
  munmap,
  new_mm,
  new_page,
  pte_table,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000; // keeps the upper tables in use

interface State {
  readonly mm: Mm;
  readonly pteA: Page;
}

export default scenario<State>('gup-walk', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_GATHER_RCU_TABLE_FREE: true },

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') });
    return { mm, pteA: pte_table(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  // Use-after-free, stale translations, leaks, deadlocks are watched without being asked for.
  sometimes: {
    'the walker reads an unlinked table': touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    'the page is returned': returned(get_user_pages_fast, (page) => page !== null),
  },

  variants: {
    'interrupts off': safe(),
    // A protection is removed by patching the function that gives it.
    'interrupts on': fails('use-after-free', { patches: [patch(local_irq_save, nop)] }),
  },
});
