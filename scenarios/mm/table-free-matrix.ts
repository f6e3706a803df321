// Every way in which kernels free page tables: what does each wait for, and what if it did not?
// linux v6.12 mm/mmu_gather.c, include/asm-generic/tlb.h, arch/x86/kernel/paravirt.c; specification
// sections 3.4 and 10.2.
import { fails, patch, returned, safe, scenario, touched, type Machine } from 'gracewalk';
import { arm64, powerpc_radix, riscv, s390, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  ___pte_free_tlb,
  flush_tlb_multi,
  get_user_pages_fast,
  hyperv_flush_tlb_multi,
  munmap,
  new_mm,
  new_page,
  pte_table,
  tlb_needs_table_invalidate,
  tlb_remove_page,
  tlb_remove_table_free,
  tlb_remove_table_rcu,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly mm: Mm;
  readonly pteA: Page;
}

const NONE = { MMU_GATHER_TABLE_FREE: false, MMU_GATHER_RCU_TABLE_FREE: false };
const TABLE_FREE = { MMU_GATHER_TABLE_FREE: true, MMU_GATHER_RCU_TABLE_FREE: false };
const ONE_TABLE_PER_BATCH = { MAX_TABLE_BATCH: 1 };

/** pv_ops.mmu.tlb_remove_table of a kernel that runs on bare metal: tables are queued like pages. */
const NATIVE = [
  patch(___pte_free_tlb, function* (tlb, table) {
    yield* tlb_remove_page(tlb, table);
  }),
];

/** pv_ops.mmu.flush_tlb_multi of a guest whose hypervisor flushes: no target executes anything. */
const HYPERCALL = [patch(flush_tlb_multi, hyperv_flush_tlb_multi)];

/** A batch of tables is freed at once instead of being handed to RCU. */
const NO_GRACE_PERIOD = [
  patch(tlb_remove_table_free, function* ({ mm }, batch, nr) {
    yield* tlb_remove_table_rcu(mm.kernel, batch, nr);
  }),
];

export default scenario<State>('table-free-matrix', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') });
    return { mm, pteA: pte_table(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'walker reads an unlinked table': touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    'the page is returned': returned(get_user_pages_fast, (page) => page !== null),
    'the table is freed': returned(munmap, undefined),
  },

  variants: {
    // Neither option: the flush interrupt is the wait.
    none: safe({ config: NONE }),
    'none, hypercall': fails('use-after-free', { config: NONE, patches: HYPERCALL }),
    // PARAVIRT: on bare metal as before; a hypervisor that flushes must bring tlb_remove_table() along.
    'PARAVIRT, native': safe({ patches: NATIVE }),
    'PARAVIRT, hypercall': safe({ patches: HYPERCALL }),
    'PARAVIRT, hypercall, native': fails('use-after-free', {
      shows: ['M4.11', 'mm:C3'],
      patches: [...HYPERCALL, ...NATIVE],
    }),
    // Batches of tables alone: the interrupt again.
    TABLE_FREE: safe({ config: TABLE_FREE }),
    'TABLE_FREE, hypercall': fails('use-after-free', { config: TABLE_FREE, patches: HYPERCALL }),
    // Through RCU, which is a wait of its own.
    'RCU, arm64': safe({ machine: arm64({ cpus: 2 }) }),
    'RCU, powerpc': safe({ machine: powerpc_radix({ cpus: 2 }) }),
    'RCU, s390': safe({ machine: s390({ cpus: 2 }) }),
    'RCU, riscv': safe({ machine: riscv({ cpus: 2 }) }),
    'no grace period, arm64': fails('use-after-free', {
      machine: arm64({ cpus: 2 }),
      patches: NO_GRACE_PERIOD,
    }),
    'no grace period, powerpc': fails('use-after-free', {
      machine: powerpc_radix({ cpus: 2 }),
      patches: NO_GRACE_PERIOD,
    }),
    'no grace period, s390': fails('use-after-free', {
      machine: s390({ cpus: 2 }),
      patches: NO_GRACE_PERIOD,
    }),
    'no grace period, hypercall': fails('use-after-free', {
      patches: [...HYPERCALL, ...NO_GRACE_PERIOD],
    }),
    // tlb_needs_table_invalidate(): radix tables are walked by hardware, those of a hash MMU are not.
    'full batch, powerpc': safe({
      machine: powerpc_radix({ cpus: 2 }),
      config: ONE_TABLE_PER_BATCH,
    }),
    'full batch, powerpc as if hash': fails('stale-translation', {
      shows: ['M3.3'],
      machine: powerpc_radix({ cpus: 2 }),
      config: ONE_TABLE_PER_BATCH,
      patches: [
        patch(tlb_needs_table_invalidate, function* () {
          return false;
        }),
      ],
    }),
  },
});
