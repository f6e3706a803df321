// RCU keeps a page table that has been removed, for walkers who found it before.  And what its entries lead
// to?  linux v6.12 mm/pgtable-generic.c, "valid though empty and disconnected" above pte_offset_map_lock();
// specification 5.6, M5.7.
import { fails, fn, patch, returned, safe, scenario, touched, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  __pte_offset_map,
  __tlb_remove_table,
  call_rcu,
  flush_tlb_range,
  folio_put,
  memcpy_from_page,
  new_mm,
  new_page,
  pmd_clear,
  pmd_off,
  pte_off,
  pte_page,
  pte_present,
  pte_table,
  pte_unmap,
  ptep_get,
  ptep_get_and_clear,
  spin_lock,
  spin_unlock,
  tree_call_rcu,
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
  readonly ptl: Word;
}

/**
 * Reads what is mapped, under the lock of the table that it found. It does not look whether the table is
 * still linked: an unlinked one is empty.
 */
const walk_pte_range = fn(function* walk_pte_range({ mm, pmdp, ptl }: State) {
  const mapped = yield* __pte_offset_map(mm, pmdp, ADDR);
  if (!mapped) return null;
  yield* spin_lock(ptl);
  const pte = yield* ptep_get(mapped.ptep);
  const present = pte_present(pte);
  if (present) yield* memcpy_from_page(pte_page(pte), 0);
  yield* spin_unlock(ptl);
  yield* pte_unmap();
  return present;
});

/** Clears the table's entries before it is unhooked; returns the page that they mapped. */
const empty_table = fn(
  function* empty_table({ ptep, ptl }: State) {
    yield* spin_lock(ptl);
    const pte = yield* ptep_get_and_clear(ptep);
    yield* spin_unlock(ptl);
    return pte_page(pte);
  },
  { hidden: true },
);

const remove_table = fn(function* remove_table(state: State) {
  const { mm, pmdp, pteA } = state;
  const page = yield* empty_table(state);
  yield* pmd_clear(pmdp);
  yield* flush_tlb_range(mm, ADDR, ADDR + PAGE_SIZE);
  yield* call_rcu(__tlb_remove_table, [pteA]);
  yield* folio_put(page);
});

const NOT_EMPTY = patch(empty_table, function* ({ ptep }) {
  return pte_page(yield* ptep_get(ptep));
});

export default scenario<State>('rcu-freed-table-contents', {
  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') });
    const pteA = pte_table(m, mm, ADDR);
    const ptl = mm.ptl.get(pteA.frame) as Word;
    return { mm, pteA, ptl, pmdp: pmd_off(m, mm, ADDR), ptep: pte_off(m, mm, ADDR) };
  },

  run: { CPU0: walk_pte_range, CPU1: remove_table },

  sometimes: {
    'walker reads an unlinked table': touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    'walker finds the page': returned(walk_pte_range, true),
  },

  variants: {
    empty: safe(),
    'empty, tree': safe({ patches: [patch(call_rcu, tree_call_rcu)] }),
    'not empty': fails('use-after-free', { patches: [NOT_EMPTY], shows: ['M5.7'] }),
    'not empty, tree': fails('use-after-free', {
      patches: [NOT_EMPTY, patch(call_rcu, tree_call_rcu)],
      shows: ['M5.7'],
    }),
  },
});
