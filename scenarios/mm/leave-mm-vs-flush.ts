// A CPU leaves an address space: its bit in the mask is cleared while the root is still loaded.  What if
// another CPU unmaps in between, and finds nobody to interrupt?  linux v6.12 arch/x86/mm/tlb.c,
// switch_mm_irqs_off(); 831d52bc1539 "x86, mm: avoid possible bogus tlb entries by clearing prev
// mm_cpumask after switching mm", 2011, for the order that it has had meanwhile; specification section 4.4.
import { fails, fn, only, returned, safe, scenario } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  context_switch,
  flush_tlb_page,
  folio_put,
  kernel_of,
  munmap,
  native_flush_tlb_multi,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  user_load,
  type Kernel,
  type Mm,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly other: Mm;
  readonly ptep: Ptep;
}

/** Unmaps a page, tables stay. */
const unmap_page = fn(function* unmap_page({ mm, ptep }: State) {
  const pte = yield* ptep_get_and_clear(ptep);
  yield* flush_tlb_page(mm, ADDR);
  yield* folio_put(pte_page(pte));
});

/** To another process and back. */
const CPU0 = function* ({ kernel, mm, other }: State) {
  yield* context_switch(kernel, other);
  yield* context_switch(kernel, mm);
  return yield* user_load(mm, ADDR);
};

const TABLES = { CPU0, CPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE) };

export default scenario<State>('leave-mm-vs-flush', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_GATHER_RCU_TABLE_FREE: true },

  setup(m) {
    const pages = { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') };
    const mm = new_mm(m, 'mm', pages);
    const other = new_mm(m, 'other', { [ADDR]: new_page(m, 'Z') }, { on: [] });
    return { kernel: kernel_of(m), mm, other, ptep: pte_off(m, mm, ADDR) };
  },

  run: { CPU0, CPU1: unmap_page },

  sometimes: {
    'the page is still there': only(
      ['pages', 'pages, tso', 'tables, rcu'],
      returned(user_load, (value) => value !== null),
    ),
    'the page is gone': returned(user_load, null),
    'the flush has somebody to interrupt': returned(native_flush_tlb_multi, undefined),
  },

  variants: {
    // No user code runs between the clearing of the bit and the load of CR3: leaf entries harm nobody.
    pages: safe(),
    'pages, tso': safe({ model: 'tso' }),
    // The hardware may walk all the same, but interrupts are off: the grace period waits for the switch.
    'tables, rcu': safe({ run: TABLES }),
    'tables, no rcu': fails('stale-translation', {
      config: { MMU_GATHER_RCU_TABLE_FREE: false },
      run: TABLES,
      shows: ['bug:clear-prev-cpumask-early'],
    }),
  },
});
