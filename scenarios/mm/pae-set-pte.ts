// x86-32 PAE: a page-table entry is two words.  Can a walker see one half of it?
// linux v6.12 include/linux/pgtable.h (ptep_get_lockless), arch/x86/include/asm/pgtable-3level.h
// (native_set_pte); specification section 2.
import { fails, patch, returned, safe, scenario } from 'gracewalk';
import { x86_pae } from 'gracewalk/arch';
import {
  insert_page,
  load_entry_high_low_low,
  new_mm,
  new_page,
  perf_get_page_size,
  pmd_off,
  ptep_get_lockless,
  set_pte_at,
  write_high,
  write_low,
  type Mm,
  type Page,
  type Pmdp,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x2000; // its page table is there already

interface State {
  readonly mm: Mm;
  readonly pmdp: Pmdp;
  readonly X: Page;
}

export default scenario<State>('pae-set-pte', {
  machine: x86_pae({ cpus: 2 }),

  // X is above 4 GiB: its frame number has bits in both halves of the entry.
  setup(m) {
    const mm = new_mm(m, 'mm', { [NEIGHBOUR]: new_page(m, 'Y') });
    return { mm, pmdp: pmd_off(m, mm, NEIGHBOUR), X: new_page(m, 'X', 1, 0x105000) };
  },

  run: {
    CPU0: ({ mm }) => perf_get_page_size(mm, ADDR),
    CPU1: ({ mm, pmdp, X }) => insert_page(mm, pmdp, ADDR, X),
  },

  sometimes: {
    'the walker finds the page': returned(perf_get_page_size, true),
    'the walker finds nothing': returned(perf_get_page_size, false),
  },

  variants: {
    // M2.2, the missing smp_wmb() of the writer, needs a machine that reorders stores: x86 does not.
    'high half first': safe(),
    'high half first, tso': safe({ model: 'tso' }),
    'low half first': fails('torn-entry', {
      shows: ['M2.1'],
      patches: [
        patch(set_pte_at, function* (ptep, pte) {
          yield* write_low(ptep, pte);
          yield* write_high(ptep, pte);
        }),
      ],
    }),
    'high half is read first': fails('torn-entry', {
      shows: ['M2.4'],
      patches: [
        patch(ptep_get_lockless, function* (ptep) {
          return yield* load_entry_high_low_low(ptep, 0);
        }),
      ],
    }),
  },
});
