// The paravirtual TLB flush skips a preempted vCPU.  Is a lockless walk on it still safe?
// linux v6.12 arch/x86/kernel/kvm.c, arch/x86/kvm/x86.c; linux-mm, 24 October 2022, "Re: [PATCH 01/13]
// mm: Update ptep_get_lockless()s comment".
import { fails, only, patch, returned, safe, scenario, touched } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  flush_tlb_multi,
  get_user_pages_fast,
  kvm_flush_tlb_multi,
  kvm_host,
  munmap,
  new_mm,
  new_page,
  pte_table,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly mm: Mm;
  readonly pteA: Page;
}

const PV = [patch(flush_tlb_multi, kvm_flush_tlb_multi)]; // pv_ops.mmu.flush_tlb_multi
const NO_RCU = { MMU_GATHER_RCU_TABLE_FREE: false };

export default scenario<State>('pv-tlb-flush', {
  machine: x86_64.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }), // the host: once, anywhere
  config: { MMU_GATHER_RCU_TABLE_FREE: true },
  host: kvm_host,

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') });
    return { mm, pteA: pte_table(m, mm, ADDR) };
  },

  run: {
    vCPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    vCPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'walker reads an unlinked table': touched('vCPU0', ({ pteA }) => pteA, 'unlinked'),
    'walker reads a table waiting for RCU': only(
      ['pv, rcu'],
      touched('vCPU0', ({ pteA }) => pteA, 'pending'),
    ),
    'the page is returned': only(
      ['native, no rcu', 'pv, rcu', 'pv, rcu, no memory'],
      returned(get_user_pages_fast, (page) => page !== null),
    ),
  },

  variants: {
    'native, no rcu': safe({ config: NO_RCU, shows: ['mm:C1'] }),
    'pv, rcu': safe({ patches: PV, shows: ['mm:C4'] }),
    'pv, rcu, no memory': safe({ patches: PV, alloc: { GFP_NOWAIT: 'fails' }, shows: ['mm:C4'] }),
    // The thread's question with the RCU half removed.
    'pv, no rcu': fails('use-after-free', {
      patches: PV,
      config: NO_RCU,
      shows: ['mm:C3', 'M4.11', 'L3'],
    }),
  },

  ask: {
    'what am I missing?': `
      vCPU0                                vCPU1
      pmdp_get_lockless()  -> pteA
      <schedules out>
                                           try_cmpxchg()  -> true
                                           <pteA freed>
      <schedules in>
      ptep_get_lockless()`,
  },
});
