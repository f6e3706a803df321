// The flush skips a vCPU that the host has taken off its processor.  Is its walk still safe?
import { fails, patch, returned, safe, scenario, touched, only } from 'gracewalk';
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

const PV = [patch(flush_tlb_multi, kvm_flush_tlb_multi)];

export default scenario<State>('pv-guest', {
  machine: x86_64.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }), // once, at any moment
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
    'the walker reads an unlinked table': touched('vCPU0', ({ pteA }) => pteA, 'unlinked'),
    'the page is returned': only(
      ['rcu'],
      returned(get_user_pages_fast, (page) => page !== null),
    ),
  },

  variants: {
    rcu: safe({ patches: PV }),
    'no rcu': fails('use-after-free', {
      patches: PV,
      config: { MMU_GATHER_RCU_TABLE_FREE: false },
    }),
  },
});
