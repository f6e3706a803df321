// A fence that waits for no walker with interrupts off.  linux arch/riscv, 2024.
import { fails, only, returned, safe, scenario, touched } from 'gracewalk';
import { riscv } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  get_user_pages_fast,
  munmap,
  new_mm,
  new_page,
  pte_table,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly mm: Mm;
  readonly pteA: Page;
}

export default scenario<State>('riscv-sbi-fence-gupfast', {
  title: 'riscv: the firmware fences harts that have interrupts off',
  citation:
    'linux commit 69be3fb111e7, "riscv: enable MMU_GATHER_RCU_TABLE_FREE for SMP", 2024 (from memory, not confirmed)',
  story:
    'GUP-fast walks with interrupts off and relies on a flush being an interrupt that it can hold off. On riscv ' +
    'the kernel asks the firmware for a remote fence, and the firmware interrupts the hart in machine mode, where ' +
    'the kernel has no say. The fence is over while the walk is not, and the table is freed under it. The cure ' +
    'frees tables through RCU, whose grace period does wait for regions with interrupts off.',

  machine: riscv({ cpus: 2 }),
  config: { MMU_GATHER_RCU_TABLE_FREE: true },
  foreign: 1,

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') });
    return { mm, pteA: pte_table(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'walker reads an unlinked table': touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    'the page is returned': only(
      ['fixed'],
      returned(get_user_pages_fast, (page) => page !== null),
    ),
  },

  variants: {
    buggy: fails('use-after-free', {
      shows: ['bug:riscv-sbi-fence-gupfast'],
      config: { MMU_GATHER_RCU_TABLE_FREE: false },
    }),
    fixed: safe(),
  },
});
