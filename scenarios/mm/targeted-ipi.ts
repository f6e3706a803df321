// Interrupting only the CPUs that are walking: a walker says so in a flag of its own, and who frees a page
// table looks at the flags instead of interrupting everybody. What orders the cleared entry before the look?
// linux-mm and kvm lists, 2 February 2026, targeted IPIs for lockless page-table walkers, reduced to the flag:
// no TLB flush lies between clearing and looking, as it does on the paths of that series.
import {
  fails,
  fn,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  touched,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  WRITE_ONCE,
  __tlb_remove_table,
  folio_put,
  local_irq_restore,
  local_irq_save,
  new_mm,
  new_page,
  offset_lockless,
  pmd_clear,
  pmd_none,
  pmd_off,
  pmdp_get_lockless,
  pte_page,
  pte_table,
  ptep_get_and_clear,
  ptep_get_lockless,
  smp_call_function_many,
  smp_mb,
  smp_rmb,
  type Mm,
  type Page,
  type Pmdp,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly mm: Mm;
  readonly pmdp: Pmdp;
  readonly pteA: Page;
  /** per_cpu(active_lockless_pt_walk_mm, 0): is CPU0 walking the tables of this mm? */
  readonly active: Word;
}

/** The walker's full barrier, between the flag and the first load of an entry. */
const walker_mb = fn(
  function* walker_mb() {
    yield* smp_mb();
  },
  { hidden: true },
);

/** A lockless walk: interrupts off, and the flag up. */
const walk = fn(function* gup_fast({ mm, pmdp, active }: State) {
  const flags = yield* local_irq_save();
  yield* WRITE_ONCE(active, 1);
  yield* walker_mb();
  const pmd = yield* pmdp_get_lockless(pmdp);
  let found = false;
  if (!pmd_none(pmd)) {
    const pte = yield* ptep_get_lockless(offset_lockless(mm, pmd, 0, ADDR));
    found = pte.present;
  }
  yield* WRITE_ONCE(active, 0);
  yield* local_irq_restore(flags);
  return found;
});

const tlb_remove_table_smp_sync = fn(function* tlb_remove_table_smp_sync() {});

/** The freer's barrier, between clearing the entry and looking at the flag. */
const freer_mb = fn(
  function* freer_mb() {
    yield* smp_mb();
  },
  { hidden: true },
);

/** Waits for the CPUs that are walking, and for nobody else. */
const tlb_remove_table_sync_mm = fn(function* tlb_remove_table_sync_mm({ active }: State) {
  yield* freer_mb();
  if ((yield* READ_ONCE(active)) === 0) return false;
  yield* smp_call_function_many([0], tlb_remove_table_smp_sync);
  return true;
});

const free = fn(function* free_pte_range(state: State) {
  const { mm, pmdp, pteA } = state;
  const pmd = yield* pmdp_get_lockless(pmdp);
  const pte = yield* ptep_get_and_clear(offset_lockless(mm, pmd, 0, ADDR));
  yield* folio_put(pte_page(pte));
  yield* pmd_clear(pmdp);
  yield* tlb_remove_table_sync_mm(state);
  yield* __tlb_remove_table(pteA);
});

// Orders loads only: the cleared entry may still be in the store buffer when the flag is read.
const RMB = [patch(freer_mb, smp_rmb)];
const NO_MB = [patch(walker_mb, nop)];

export default scenario<State>('targeted-ipi', {
  machine: x86_64({ cpus: 2 }),
  model: 'tso',

  setup(m) {
    const pages = { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') };
    const mm = new_mm(m, 'mm', pages, { on: [] }); // nobody runs it, so no cache has anything of it
    const active = m.memory.variable('active_lockless_pt_walk_mm(CPU0)');
    return { mm, pmdp: pmd_off(m, mm, ADDR), pteA: pte_table(m, mm, ADDR), active };
  },

  run: {
    CPU0: (state) => walk(state),
    CPU1: (state) => free(state),
  },

  sometimes: {
    'walker reads an unlinked table': touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    'the walker is waited for': returned(tlb_remove_table_sync_mm, true),
    'the walker is not waited for': returned(tlb_remove_table_sync_mm, false),
    'the page is found': only(['smp_mb', 'smp_rmb, sc'], returned(walk, true)),
  },

  variants: {
    smp_mb: safe(),
    smp_rmb: fails('use-after-free', { patches: RMB }),
    'walker without smp_mb': fails('use-after-free', { patches: NO_MB }),
    // Interleaving alone shows neither.
    'smp_rmb, sc': safe({ model: 'sc', patches: RMB }),
    'walker without smp_mb, sc': safe({ model: 'sc', patches: NO_MB }),
  },
});
