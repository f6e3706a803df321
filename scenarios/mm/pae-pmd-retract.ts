// x86-32 PAE: khugepaged takes an empty page table away, and a fault brings the next one.  Can a walker follow
// a pointer to half of each?
// linux v6.12 mm/pgtable-generic.c (__pte_offset_map), mm/khugepaged.c (retract_page_tables); specification
// sections 2.5 and 2.7.
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
import { x86_pae } from 'gracewalk/arch';
import {
  __pte_offset_map,
  flush_tlb_multi,
  kvm_flush_tlb_multi,
  kvm_host,
  new_mm,
  new_page,
  new_pte_table,
  pmd_install,
  pmd_off,
  pmdp_get_lockless_end,
  pmdp_get_lockless_start,
  pmdp_get_lockless_sync,
  pte_table,
  pte_unmap,
  ptep_get_lockless,
  retract_page_table,
  type Mm,
  type Page,
  type Pmdp,
} from 'gracewalk/linux';

const ADDR = 0x200000;
const NEIGHBOUR = 0x1000; // keeps the upper tables in use

interface State {
  readonly mm: Mm;
  readonly pmdp: Pmdp;
  readonly pteB: Page;
  readonly pteC: Page;
}

/** pteB, which is empty, and pteC, which a fault has allocated, are 4 GiB apart. */
function tables(m: Machine, on: readonly string[]): State {
  const options = { on, tables: [ADDR], pfns: { pteB: 0x105000 } };
  const mm = new_mm(m, 'mm', { [NEIGHBOUR]: new_page(m, 'X') }, options);
  const pteC = new_pte_table(m, mm, 'pteC', 0x205000);
  return { mm, pmdp: pmd_off(m, mm, ADDR), pteB: pte_table(m, mm, ADDR), pteC };
}

/** A walker under rcu_read_lock() alone: the page table of another process, say for /proc. */
function* walk({ mm, pmdp }: State) {
  const mapped = yield* __pte_offset_map(mm, pmdp, ADDR);
  if (!mapped) return false;
  const pte = yield* ptep_get_lockless(mapped.ptep);
  yield* pte_unmap();
  return pte.present;
}

function* retract_and_fault({ mm, pmdp, pteC }: State) {
  yield* retract_page_table(mm, ADDR, pmdp);
  yield* pmd_install(mm, pmdp, pteC);
}

const PV_MACHINE = {
  machine: x86_pae.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }),
  setup: (m: Machine): State => tables(m, ['vCPU0', 'vCPU1']),
  run: { vCPU0: walk, vCPU1: retract_and_fault },
};
const PV = patch(flush_tlb_multi, kvm_flush_tlb_multi); // pv_ops.mmu.flush_tlb_multi
const NO_SYNC = patch(pmdp_get_lockless_sync, nop);

export default scenario<State>('pae-pmd-retract', {
  machine: x86_pae({ cpus: 2 }),
  host: kvm_host,

  setup: (m) => tables(m, ['CPU1']),

  run: { CPU0: walk, CPU1: retract_and_fault },

  sometimes: {
    'the walker reads the table that is taken away': only(
      ['sync'],
      touched('CPU0', ({ pteB }) => pteB, 'unlinked'),
    ),
    'the walker reads the next table': only(
      ['sync', 'running the address space, no sync'],
      touched('CPU0', ({ pteC }) => pteC, 'live'),
    ),
    'there is no table': returned(__pte_offset_map, null),
  },

  variants: {
    sync: safe(),
    'no sync': fails('torn-entry', { shows: ['M2.10'], patches: [NO_SYNC] }),
    // The wait is for loads with interrupts off.
    'interrupts on': fails('torn-entry', {
      patches: [
        patch(pmdp_get_lockless_start, function* () {
          return 0;
        }),
        patch(pmdp_get_lockless_end, nop),
      ],
    }),
    // On a CPU that runs the address space the interrupt of the flush is a wait as well, if it is one.
    'running the address space, no sync': safe({
      setup: (m) => tables(m, ['CPU0', 'CPU1']),
      patches: [NO_SYNC],
    }),
    'pv, sync': safe({ ...PV_MACHINE, patches: [PV] }),
    'pv, no sync': fails('torn-entry', {
      shows: ['M2.10'],
      ...PV_MACHINE,
      patches: [PV, NO_SYNC],
    }),
  },
});
