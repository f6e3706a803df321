// x86-32 PAE: a page fault reads the entry in two halves, with interrupts on and without the lock.  May it
// store what it makes of that?
// linux v6.12 mm/memory.c (handle_pte_fault); specification sections 2.5 and 2.7.
import { fails, only, patch, returned, safe, scenario } from 'gracewalk';
import { x86_pae } from 'gracewalk/arch';
import {
  handle_pte_fault,
  mprotect,
  new_mm,
  new_page,
  pmd_off,
  ptep_get,
  ptep_get_lockless,
  vmf_pte_same,
  type Mm,
  type Pmdp,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const READ_WRITE = { writable: true };
const READ_ONLY = { writable: false };

interface State {
  readonly mm: Mm;
  readonly pmdp: Pmdp;
}

const NO_COMPARISON = patch(vmf_pte_same, function* () {
  return true;
});
const TORN_LOAD = patch(ptep_get_lockless, function* (ptep) {
  return yield* ptep_get(ptep);
});

export default scenario<State>('pae-fault', {
  machine: x86_pae({ cpus: 2 }),

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X', 0, 0x105000) }, READ_WRITE);
    return { mm, pmdp: pmd_off(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ mm, pmdp }) => handle_pte_fault(mm, pmdp, ADDR), // a store, to mark the page dirty
    CPU1: ({ mm, pmdp }) => mprotect(mm, pmdp, ADDR, READ_WRITE, READ_ONLY),
  },

  sometimes: {
    'the page is marked': returned(handle_pte_fault, true),
    'the entry has changed': only(
      ['pte_same', 'pte_same, torn load'],
      returned(vmf_pte_same, false),
    ),
  },

  variants: {
    pte_same: safe(),
    'pte_same, tso': safe({ model: 'tso' }),
    // The comparison makes up for any load.
    'pte_same, torn load': safe({ patches: [TORN_LOAD] }),
    // Without it the fault stores an entry that was never there.
    'torn load': fails('torn-entry', { shows: ['M2.12'], patches: [TORN_LOAD, NO_COMPARISON] }),
  },
});
