// Flushes that interrupt nobody: by the hypervisor, by broadcast, by firmware.  None waits for a walk with
// interrupts off.  What does, when a page table is freed?  linux v6.12 arch/x86/hyperv/mmu.c,
// arch/x86/xen/mmu_pv.c, arch/powerpc/mm/book3s64/radix_tlb.c, arch/s390/include/asm/tlbflush.h,
// arch/riscv/mm/tlbflush.c; v6.15 arch/x86/mm/tlb.c (INVLPGB); specification 3.7 (M3.2), 4.6 and 10.2.
import { fails, fn, only, patch, returned, safe, scenario, touched } from 'gracewalk';
import { powerpc_radix, riscv, s390, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  broadcast_tlb_flush,
  context_switch,
  flush_tlb_multi,
  folio_put,
  get_user_pages_fast,
  hv_skips_lazy,
  hyperv_flush_tlb_multi,
  kernel_of,
  munmap,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  pte_table,
  ptep_get_and_clear,
  ptep_xchg_direct,
  radix__flush_tlb_pwc_range_psize,
  radix__flush_tlb_range_psize,
  xen_flush_tlb_multi,
  type Kernel,
  type Mm,
  type Page,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly pteA: Page;
  readonly ptep: Ptep;
}

/** Unmaps a page on s390, whose entries are cleared and flushed by one instruction. */
const unmap_page = fn(function* unmap_page({ mm, ptep }: State) {
  const pte = yield* ptep_xchg_direct(mm, ADDR, ptep);
  yield* folio_put(pte_page(pte));
});

const GUEST = { ...x86_64.kvm_guest({ vcpus: 2 }), title: 'x86-64 guest, 2 vCPUs' };
const NO_RCU = { MMU_GATHER_RCU_TABLE_FREE: false };
const HYPERV = [patch(flush_tlb_multi, hyperv_flush_tlb_multi)];
const XEN = [patch(flush_tlb_multi, xen_flush_tlb_multi)];
const INVLPGB = [patch(flush_tlb_multi, broadcast_tlb_flush)];

const unmapper = ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE);
const ON_GUEST = {
  machine: GUEST,
  run: { vCPU0: ({ mm }: State) => get_user_pages_fast(mm, ADDR), vCPU1: unmapper },
};
const LAZY = {
  machine: GUEST,
  run: {
    *vCPU0({ kernel, mm }: State) {
      yield* context_switch(kernel, null);
      yield* context_switch(kernel, mm);
    },
    vCPU1: unmapper,
  },
};

const IPTE = { CPU0: ({ mm }: State) => get_user_pages_fast(mm, ADDR), CPU1: unmap_page };

export default scenario<State>('flush-without-ipi', {
  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') });
    const ptep = pte_off(m, mm, ADDR);
    return { kernel: kernel_of(m), mm, ptep, pteA: pte_table(m, mm, ADDR) };
  },

  run: { CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR), CPU1: unmapper },

  sometimes: {
    'walker reads a table waiting for RCU': only(
      ['powerpc', 's390', 'riscv', 'invlpgb'],
      touched('CPU0', ({ pteA }) => pteA, 'pending'),
    ),
    'a vCPU reads a table waiting for RCU': only(
      ['hyperv', 'xen'],
      touched('vCPU0', ({ pteA }) => pteA, 'pending'),
    ),
    'the page is returned': only(
      ['powerpc', 's390', 's390, ipte', 'riscv', 'invlpgb', 'hyperv', 'xen'],
      returned(get_user_pages_fast, (page) => page !== null),
    ),
    'the flush is told of tables': only(['hyperv, lazy'], returned(hv_skips_lazy, false)),
  },

  variants: {
    powerpc: safe({ machine: powerpc_radix({ cpus: 2 }) }),
    'powerpc, no rcu': fails('use-after-free', {
      machine: powerpc_radix({ cpus: 2 }),
      config: NO_RCU,
      shows: ['M3.2'],
    }),
    s390: safe({ machine: s390({ cpus: 2 }) }),
    's390, no rcu': fails('use-after-free', {
      machine: s390({ cpus: 2 }),
      config: NO_RCU,
      shows: ['M3.2'],
    }),
    's390, ipte': safe({ machine: s390({ cpus: 2 }), run: IPTE }),
    // As where nobody else has the address space attached, and without the flush that comes later there.
    's390, entry only': fails('stale-translation', {
      machine: s390({ cpus: 2 }),
      run: IPTE,
      patches: [
        patch(ptep_xchg_direct, function* (_mm, _addr, ptep) {
          return yield* ptep_get_and_clear(ptep);
        }),
      ],
    }),
    riscv: safe({ machine: riscv({ cpus: 2 }) }),
    'riscv, no rcu': fails('use-after-free', {
      machine: riscv({ cpus: 2 }),
      config: NO_RCU,
      shows: ['M3.2'],
    }),
    invlpgb: safe({ patches: INVLPGB }),
    'invlpgb, no rcu': fails('use-after-free', {
      patches: INVLPGB,
      config: NO_RCU,
      shows: ['M3.2'],
    }),
    hyperv: safe({ ...ON_GUEST, patches: HYPERV }),
    'hyperv, no rcu': fails('use-after-free', { ...ON_GUEST, patches: HYPERV, config: NO_RCU }),
    xen: safe({ ...ON_GUEST, patches: XEN }),
    'xen, no rcu': fails('use-after-free', { ...ON_GUEST, patches: XEN, config: NO_RCU }),
    'hyperv, lazy': safe({ ...LAZY, patches: HYPERV }),
    // Lazy vCPUs are skipped by every flush.
    'hyperv, lazy, freed_tables ignored': fails('stale-translation', {
      ...LAZY,
      patches: [
        ...HYPERV,
        patch(hv_skips_lazy, function* () {
          return true;
        }),
      ],
      shows: ['M3.8'],
    }),
    // RIC 0: the walk cache still leads to the table.
    'powerpc, tlb only': fails('stale-translation', {
      machine: powerpc_radix({ cpus: 2 }),
      patches: [
        patch(radix__flush_tlb_pwc_range_psize, function* (mm, start, end) {
          yield* radix__flush_tlb_range_psize(mm, start, end);
        }),
      ],
    }),
  },
});
