// GUP-fast vs munmap(): can a lockless walker touch a freed page table, or return the wrong page?
// linux v6.12 mm/gup.c, mm/mmu_gather.c, arch/x86/mm/tlb.c; specification sections 1, 3 and 4.
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
  get_user_pages_fast,
  gup_entries_unchanged,
  local_irq_save,
  munmap,
  new_mm,
  new_page,
  pte_table,
  tlb_batch_pages_flush,
  tlb_flush_mmu,
  tlb_flush_mmu_tlbonly,
  tlb_remove_table_sync_one,
  tlb_table_flush,
  tlb_table_invalidate,
  walk_page_range_rcu,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000; // keeps the upper tables in use, as a process's other mappings do

interface State {
  readonly mm: Mm;
  readonly pteA: Page;
}

/** pgd -> pud -> pmd -> pteA -> X, run by these CPUs. */
function address_space(m: Machine, on: readonly string[]): State {
  const pages = { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') };
  const mm = new_mm(m, 'mm', pages, { on });
  return { mm, pteA: pte_table(m, mm, ADDR) };
}

const NO_RCU = { MMU_GATHER_RCU_TABLE_FREE: false };
const RCU_ONLY_WALKER = {
  CPU0: ({ mm }: State) => walk_page_range_rcu(mm, ADDR),
  CPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE),
};

const GUP_VARIANTS = [
  'rcu',
  'rcu, no memory',
  'ipi',
  'arm64, rcu',
  'arm64, no memory',
  'foreign mm, rcu',
];

export default scenario<State>('gup-fast-vs-munmap', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_GATHER_RCU_TABLE_FREE: true },

  setup: (m) => address_space(m, ['CPU0', 'CPU1']),

  foreign: 1, // what is freed may belong to somebody else a moment later

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'walker reads an unlinked table': touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    'walker reads a table waiting for RCU': only(
      ['arm64, rcu'],
      touched('CPU0', ({ pteA }) => pteA, 'pending'),
    ),
    'the page is returned': only(
      GUP_VARIANTS,
      returned(get_user_pages_fast, (page) => page !== null),
    ),
    'the walk falls back to the slow path': only(GUP_VARIANTS, returned(get_user_pages_fast, null)),
  },

  variants: {
    rcu: safe(),
    'rcu, no memory': safe({ alloc: { GFP_NOWAIT: 'fails' } }),
    // mm:C1: the flush interrupt alone is enough, because this CPU runs the address space.
    ipi: safe({ config: NO_RCU }),
    'gup with irqs on': fails('use-after-free', { patches: [patch(local_irq_save, nop)] }),
    'ipi, gup with irqs on': fails('use-after-free', {
      config: NO_RCU,
      patches: [patch(local_irq_save, nop)],
    }),
    // M3.1: pages go back before the flush.
    'free pages, then flush': fails('stale-translation', {
      patches: [
        patch(tlb_flush_mmu, function* (tlb) {
          yield* tlb_batch_pages_flush(tlb);
          yield* tlb_flush_mmu_tlbonly(tlb);
          yield* tlb_table_flush(tlb);
        }),
      ],
    }),
    'free tables, then flush': fails(['use-after-free', 'stale-translation'], {
      config: NO_RCU,
      patches: [
        patch(tlb_table_invalidate, nop),
        patch(tlb_flush_mmu, function* (tlb) {
          yield* tlb_table_flush(tlb);
          yield* tlb_flush_mmu_tlbonly(tlb);
          yield* tlb_batch_pages_flush(tlb);
        }),
      ],
    }),
    'arm64, rcu': safe({ machine: arm64({ cpus: 2 }) }),
    'arm64, no memory': safe({
      machine: arm64({ cpus: 2 }),
      alloc: { GFP_NOWAIT: 'fails' },
    }),
    // M3.2: a broadcast flush waits for nobody, so freeing tables right after it is too early.
    'arm64, no rcu': fails('use-after-free', { machine: arm64({ cpus: 2 }), config: NO_RCU }),
    // M3.5: without a batch page and without the interrupt, only a flush that does not wait shows it.
    'arm64, no memory, no sync': fails('use-after-free', {
      machine: arm64({ cpus: 2 }),
      alloc: { GFP_NOWAIT: 'fails' },
      patches: [patch(tlb_remove_table_sync_one, nop)],
    }),
    // M1.1: the speculative reference lands on what the page has become.
    'arm64, no re-check': fails('wrong-page', {
      machine: arm64({ cpus: 2 }),
      patches: [
        patch(gup_entries_unchanged, function* () {
          return true;
        }),
      ],
    }),
    // mm:C2, M1.9: interrupts off on a CPU that does not run the address space get no flush interrupt.
    'foreign mm, ipi': fails('use-after-free', {
      config: NO_RCU,
      setup: (m) => address_space(m, ['CPU1']),
    }),
    'foreign mm, rcu': safe({ setup: (m) => address_space(m, ['CPU1']) }),
    // rcu_read_lock() alone holds off grace periods and no interrupt.
    'rcu-only walker, rcu': safe({ run: RCU_ONLY_WALKER }),
    'rcu-only walker, ipi': fails('use-after-free', { config: NO_RCU, run: RCU_ONLY_WALKER }),
  },
});
