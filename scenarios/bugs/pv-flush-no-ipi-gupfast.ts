// A hypercall flushes, and a walk with interrupts off goes on.  x86 on Hyper-V, 2017.
import { fails, only, patch, returned, safe, scenario, touched } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  flush_tlb_multi,
  get_user_pages_fast,
  hyperv_flush_tlb_multi,
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

export default scenario<State>('pv-flush-no-ipi-gupfast', {
  title: 'x86 on Hyper-V: the flush is a hypercall, which interrupts nobody',
  citation:
    'linux commit 9e52fc2b50de (the id is from memory), "x86/mm: Enable RCU based page table freeing (CONFIG_HAVE_RCU_TABLE_FREE=y)", 2017',
  story:
    'On bare metal a flush is an interrupt, so GUP-fast needs nothing but interrupts off: the flush, and the free ' +
    'after it, wait. Hyper-V (and Xen, and KVM for a vCPU that is not running) flushes on behalf of the guest: the ' +
    'hypercall returns while the walk goes on, and the table was freed under it. The cure frees page tables through ' +
    'RCU wherever such a flush may be in use.',

  machine: { ...x86_64.kvm_guest({ vcpus: 2 }), title: 'x86-64 guest of Hyper-V, 2 vCPUs' },
  config: { MMU_GATHER_RCU_TABLE_FREE: true },
  foreign: 1,

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
      ['fixed'],
      returned(get_user_pages_fast, (page) => page !== null),
    ),
  },

  variants: {
    buggy: fails('use-after-free', {
      shows: ['bug:pv-flush-no-ipi-gupfast'],
      config: { MMU_GATHER_RCU_TABLE_FREE: false },
      patches: [patch(flush_tlb_multi, hyperv_flush_tlb_multi)],
    }),
    fixed: safe({ patches: [patch(flush_tlb_multi, hyperv_flush_tlb_multi)] }),
  },
});
