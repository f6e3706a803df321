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
  call_rcu,
  folio_ref_inc,
  get_user_pages_fast,
  gup_entries_unchanged,
  local_irq_restore,
  local_irq_save,
  memcpy_from_page,
  munmap,
  new_mm,
  new_page,
  pte_table,
  rcu_read_lock,
  rcu_read_unlock,
  tlb_batch_pages_flush,
  tlb_flush_mmu,
  tlb_flush_mmu_tlbonly,
  tlb_remove_table_sync_one,
  tlb_table_flush,
  tlb_table_invalidate,
  tree_call_rcu,
  try_grab_folio_fast,
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
const ONE_TABLE_PER_BATCH = { MAX_TABLE_BATCH: 1 };
const TREE_RCU = [patch(call_rcu, tree_call_rcu)];
const NO_RECHECK = [
  patch(gup_entries_unchanged, function* () {
    return true;
  }),
];

const RCU_READ_LOCK = [
  patch(local_irq_save, function* () {
    yield* rcu_read_lock();
    return 0;
  }),
  patch(local_irq_restore, function* () {
    yield* rcu_read_unlock();
  }),
];

/** The caller of GUP-fast reads the page that it was given. */
const PAGE_READER = {
  *CPU0({ mm }: State) {
    const page = yield* get_user_pages_fast(mm, ADDR);
    if (page) yield* memcpy_from_page(page, 0);
    return page;
  },
  CPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE),
};

const RCU_ONLY_WALKER = {
  CPU0: ({ mm }: State) => walk_page_range_rcu(mm, ADDR),
  CPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE),
};

const GUP_VARIANTS = [
  'rcu',
  'rcu, full batch',
  'rcu, no memory',
  'ipi',
  'arm64, rcu',
  'arm64, no memory',
  'arm64, page is read',
  'rcu, tree',
  'arm64, tree',
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
      ['arm64, rcu', 'arm64, tree', 'rcu-only walker, tree', 'rcu-only walker, PT_RECLAIM'],
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
    ipi: safe({ config: NO_RCU, shows: ['mm:C1'] }),
    'gup with irqs on': fails('use-after-free', { patches: [patch(local_irq_save, nop)] }),
    'ipi, gup with irqs on': fails('use-after-free', {
      config: NO_RCU,
      patches: [patch(local_irq_save, nop)],
    }),
    // M3.1: pages go back before the flush.
    'free pages, then flush': fails('stale-translation', {
      shows: ['M3.1'],
      patches: [
        patch(tlb_flush_mmu, function* (tlb) {
          yield* tlb_batch_pages_flush(tlb);
          yield* tlb_flush_mmu_tlbonly(tlb);
          yield* tlb_table_flush(tlb);
        }),
      ],
    }),
    // M3.3: a full batch goes to RCU before the flush; a grace period waits for no hardware walker.
    'rcu, full batch': safe({ config: ONE_TABLE_PER_BATCH }),
    'rcu, full batch, no flush': fails('stale-translation', {
      shows: ['M3.3', 'L6'],
      config: ONE_TABLE_PER_BATCH,
      patches: [patch(tlb_table_invalidate, nop)],
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
    'arm64, no rcu': fails('use-after-free', {
      machine: arm64({ cpus: 2 }),
      config: NO_RCU,
      shows: ['M3.2'],
    }),
    // M3.5: without a batch page and without the interrupt, only a flush that does not wait shows it.
    'arm64, no memory, no sync': fails('use-after-free', {
      shows: ['M3.5'],
      machine: arm64({ cpus: 2 }),
      alloc: { GFP_NOWAIT: 'fails' },
      patches: [patch(tlb_remove_table_sync_one, nop)],
    }),
    // M1.1: without the re-check the page returned need not be mapped any more.
    'arm64, no re-check': fails('wrong-page', {
      shows: ['M1.1'],
      machine: arm64({ cpus: 2 }),
      patches: NO_RECHECK,
    }),
    // M1.1 to its end: by then it belongs to another process, whose data the caller reads.
    'arm64, page is read': safe({ machine: arm64({ cpus: 2 }), run: PAGE_READER }),
    'arm64, foreign page is read': fails(['use-after-free', 'wrong-page'], {
      shows: ['M1.1'],
      machine: arm64({ cpus: 2 }),
      run: PAGE_READER,
      patches: NO_RECHECK,
    }),
    // The interrupt holds off the free until the reference is taken: a stale page, but no foreign one.
    'ipi, no re-check': fails('wrong-page', {
      config: NO_RCU,
      run: PAGE_READER,
      patches: NO_RECHECK,
    }),
    // M1.3: a reference taken on a free page makes dropping it a second free.
    'arm64, plain increment': fails(['double-free', 'refcount'], {
      shows: ['M1.3'],
      machine: arm64({ cpus: 2 }),
      patches: [
        patch(try_grab_folio_fast, function* (page, claim) {
          return yield* folio_ref_inc(page, claim);
        }),
      ],
    }),
    // M1.11: an RCU section instead of interrupts off; the interrupt that stands in for the batch comes through.
    'arm64, no memory, rcu_read_lock': fails('use-after-free', {
      shows: ['M1.11'],
      machine: arm64({ cpus: 2 }),
      alloc: { GFP_NOWAIT: 'fails' },
      patches: RCU_READ_LOCK,
    }),
    'arm64, rcu_read_lock': safe({ machine: arm64({ cpus: 2 }), patches: RCU_READ_LOCK }),
    // mm:C2, M1.9: interrupts off on a CPU that does not run the address space get no flush interrupt.
    'foreign mm, ipi': fails('use-after-free', {
      shows: ['mm:C2', 'M1.9'],
      config: NO_RCU,
      setup: (m) => address_space(m, ['CPU1']),
    }),
    'foreign mm, rcu': safe({ setup: (m) => address_space(m, ['CPU1']) }),
    // RCU as the machine of kernel/rcu-tree.ts keeps its promise.
    'rcu, tree': safe({ patches: TREE_RCU }),
    'arm64, tree': safe({ machine: arm64({ cpus: 2 }), patches: TREE_RCU }),
    'rcu-only walker, tree': safe({ patches: TREE_RCU, run: RCU_ONLY_WALKER }),
    'gup with irqs on, tree': fails('use-after-free', {
      patches: [...TREE_RCU, patch(local_irq_save, nop)],
    }),
    // rcu_read_lock() alone holds off grace periods and no interrupt.
    'rcu-only walker, rcu': safe({ run: RCU_ONLY_WALKER }),
    'rcu-only walker, ipi': fails('use-after-free', { config: NO_RCU, run: RCU_ONLY_WALKER }),
    // M3.7: the interrupt of tlb_remove_table_sync_one() is no grace period; with PT_RECLAIM there is one.
    'rcu-only walker, no memory': fails('use-after-free', {
      shows: ['M3.7', 'L7'],
      alloc: { GFP_NOWAIT: 'fails' },
      run: RCU_ONLY_WALKER,
    }),
    'rcu-only walker, PT_RECLAIM': safe({
      config: { PT_RECLAIM: true },
      alloc: { GFP_NOWAIT: 'fails' },
      run: RCU_ONLY_WALKER,
    }),
  },
});
