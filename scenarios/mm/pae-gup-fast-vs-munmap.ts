// x86-32 PAE: GUP-fast vs munmap(), with three levels of tables and entries of two halves.
// linux v6.12 mm/gup.c, mm/mmu_gather.c, arch/x86/include/asm/pgtable-3level.h; specification sections 1 to 4.
import { fails, nop, only, patch, returned, safe, scenario, touched } from 'gracewalk';
import { x86_pae } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  flush_tlb_multi,
  get_user_pages_fast,
  gup_entries_unchanged,
  kvm_flush_tlb_multi,
  kvm_host,
  local_irq_save,
  munmap,
  new_mm,
  new_page,
  pte_table,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000; // keeps the upper tables in use, as a process's other mappings do

interface State {
  readonly mm: Mm;
  readonly pteA: Page;
}

const NO_RCU = { MMU_GATHER_RCU_TABLE_FREE: false };
const PV = {
  machine: x86_pae.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }), // the host: once, anywhere
  patches: [patch(flush_tlb_multi, kvm_flush_tlb_multi)], // pv_ops.mmu.flush_tlb_multi
  run: {
    vCPU0: ({ mm }: State) => get_user_pages_fast(mm, ADDR),
    vCPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE),
  },
  foreign: 0,
};

export default scenario<State>('pae-gup-fast-vs-munmap', {
  machine: x86_pae({ cpus: 2 }),
  config: { MMU_GATHER_RCU_TABLE_FREE: true },
  host: kvm_host,

  setup(m) {
    // X is above 4 GiB: both halves of its entry say where it is.
    const pages = { [ADDR]: new_page(m, 'X', 0, 0x105000), [NEIGHBOUR]: new_page(m, 'Y') };
    const mm = new_mm(m, 'mm', pages);
    return { mm, pteA: pte_table(m, mm, ADDR) };
  },

  foreign: 1, // what is freed may belong to somebody else a moment later

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'walker reads an unlinked table': only(
      ['rcu', 'ipi'],
      touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    ),
    'walker on a vCPU reads an unlinked table': only(
      ['pv, rcu'],
      touched('vCPU0', ({ pteA }) => pteA, 'unlinked'),
    ),
    'the page is returned': returned(get_user_pages_fast, (page) => page !== null),
    'the walk falls back to the slow path': returned(get_user_pages_fast, null),
  },

  variants: {
    rcu: safe(),
    ipi: safe({ config: NO_RCU }),
    'ipi, gup with irqs on': fails('use-after-free', {
      config: NO_RCU,
      patches: [patch(local_irq_save, nop)],
    }),
    'ipi, no re-check': fails('wrong-page', {
      config: NO_RCU,
      patches: [
        patch(gup_entries_unchanged, function* () {
          return true;
        }),
      ],
    }),
    'pv, rcu': safe(PV),
    'pv, no rcu': fails('use-after-free', { ...PV, config: NO_RCU }),
  },
});
