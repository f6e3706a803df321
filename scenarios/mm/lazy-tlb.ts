// A kernel thread borrows the address space of the last process, and flushes leave its CPU alone.  What must
// not be left to the moment when it stops being lazy?  linux v6.12 arch/x86/mm/tlb.c; 2ff6ddf19c0e
// "x86/mm/tlb: Leave lazy TLB mode at page table free time"; specification 3.7 (M3.8) and 4.5.
import { entered, fails, fn, nop, only, patch, returned, safe, scenario } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  context_switch,
  flush_tlb_page,
  folio_put,
  kernel_of,
  leave_lazy_mb,
  leave_lazy_tlb,
  munmap,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  pte_free_tlb,
  should_flush_tlb,
  switch_mm_irqs_off,
  tlb_remove_table,
  tlb_remove_tlb_entry,
  type Kernel,
  type Mm,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly ptep: Ptep;
}

/** A kernel thread runs for a while. */
const borrow = fn(
  function* borrow({ kernel, mm }: State) {
    yield* context_switch(kernel, null);
    yield* context_switch(kernel, mm);
  },
  { hidden: true },
);

/** Unmaps a page, tables stay. */
const unmap_page = fn(function* unmap_page({ mm, ptep }: State) {
  const pte = yield* ptep_get_and_clear(ptep);
  yield* flush_tlb_page(mm, ADDR);
  yield* folio_put(pte_page(pte));
});

const TABLES = { CPU0: borrow, CPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE) };

/** M3.8: the flush is told of the range, and not that tables go. */
const ONLY_PAGES = patch(pte_free_tlb, function* (tlb, table, entry, addr, size) {
  tlb_remove_tlb_entry(tlb, entry, addr, size, 1);
  yield* tlb_remove_table(tlb, table);
});

const NO_RCU = { MMU_GATHER_RCU_TABLE_FREE: false };

export default scenario<State>('lazy-tlb', {
  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const pages = { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') };
    const mm = new_mm(m, 'mm', pages);
    return { kernel: kernel_of(m), mm, ptep: pte_off(m, mm, ADDR) };
  },

  run: { CPU0: borrow, CPU1: unmap_page },

  sometimes: {
    'a flush leaves the lazy CPU alone': only(
      ['pages', 'pages, tso', 'no smp_mb, sc'],
      returned(should_flush_tlb, false),
    ),
    'the flush interrupts the lazy CPU': only(
      ['tables', 'tables, rcu'],
      entered('IPI: flush_tlb_func', switch_mm_irqs_off),
    ),
  },

  variants: {
    pages: safe(),
    'pages, tso': safe({ model: 'tso' }),
    // What it has missed it looks up when it stops being lazy,
    'no generation': fails('stale-translation', { patches: [patch(leave_lazy_tlb, nop)] }),
    // and not before others can see that it is not lazy any more.
    'no smp_mb': fails('stale-translation', { model: 'tso', patches: [patch(leave_lazy_mb, nop)] }),
    'no smp_mb, sc': safe({ patches: [patch(leave_lazy_mb, nop)] }),
    // Walk caches are used by a CPU in the kernel, too: it speculates.
    tables: safe({ run: TABLES, config: NO_RCU }),
    'tables, rcu': safe({ run: TABLES }),
    'freed_tables is 0': fails('stale-translation', {
      run: TABLES,
      config: NO_RCU,
      patches: [ONLY_PAGES],
      shows: ['M3.8'],
    }),
    'freed_tables is 0, rcu': fails('stale-translation', {
      run: TABLES,
      patches: [ONLY_PAGES],
      shows: ['M3.8'],
    }),
  },
});
