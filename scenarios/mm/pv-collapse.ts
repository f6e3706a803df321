// khugepaged empties a page table, unhooks it, flushes, and frees it at once: the flush is to wait for walkers
// with interrupts off.  Does it?  linux v6.0 mm/khugepaged.c, collapse_and_free_pmd(); 2ba99c5e0881
// "mm/khugepaged: fix GUP-fast interaction by sending IPI"; specification 4.7 (M4.12) and 10.2.
import { fails, fn, nop, patch, returned, safe, scenario } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  __tlb_remove_table,
  flush_tlb_multi,
  flush_tlb_range,
  folio_put,
  get_user_pages_fast,
  kvm_flush_tlb_multi,
  kvm_host,
  new_mm,
  new_page,
  pmd_clear,
  pmd_off,
  pte_off,
  pte_page,
  pte_table,
  ptep_get_and_clear,
  tlb_remove_table_sync_one,
  type Mm,
  type Page,
  type Pmdp,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly pmdp: Pmdp;
  readonly ptep: Ptep;
  readonly pteA: Page;
}

/** No reader of page-table locks or of VMAs is left; walkers without locks are. */
const collapse_and_free_pmd = fn(function* collapse_and_free_pmd(state: State) {
  const { mm, pmdp, ptep, pteA } = state;
  const pte = yield* ptep_get_and_clear(ptep);
  yield* pmd_clear(pmdp);
  yield* flush_tlb_range(mm, ADDR, ADDR + PAGE_SIZE); // pmdp_collapse_flush()
  yield* tlb_remove_table_sync_one(mm);
  yield* __tlb_remove_table(pteA); // pte_free()
  yield* folio_put(pte_page(pte));
});

const PV = patch(flush_tlb_multi, kvm_flush_tlb_multi);
const NO_SYNC = patch(tlb_remove_table_sync_one, nop);

const ON_ARM64 = {
  machine: arm64({ cpus: 2 }),
  run: {
    CPU0: ({ mm }: State) => get_user_pages_fast(mm, ADDR),
    CPU1: collapse_and_free_pmd,
  },
};

export default scenario<State>('pv-collapse', {
  machine: x86_64.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }), // the host: once, anywhere
  host: kvm_host,

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') });
    const pmdp = pmd_off(m, mm, ADDR);
    return { mm, pmdp, ptep: pte_off(m, mm, ADDR), pteA: pte_table(m, mm, ADDR) };
  },

  run: {
    vCPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    vCPU1: collapse_and_free_pmd,
  },

  sometimes: {
    'walker finds the table': returned(get_user_pages_fast, (page) => page !== null),
    'walker finds it gone': returned(get_user_pages_fast, null),
  },

  variants: {
    // The interrupt of the flush is the wait,
    'ipi, no sync': safe({ patches: [NO_SYNC] }),
    // and where the flush leaves it out, another interrupt is.
    pv: safe({ patches: [PV] }),
    'pv, no sync': fails('use-after-free', { patches: [PV, NO_SYNC], shows: ['M4.12'] }),
    arm64: safe(ON_ARM64),
    'arm64, no sync': fails('use-after-free', {
      ...ON_ARM64,
      patches: [NO_SYNC],
      shows: ['M4.12'],
    }),
  },
});
