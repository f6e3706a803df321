// The paravirtual TLB flush waits for no walker on a preempted vCPU.  What does, when a page table is freed?
// linux v6.12 mm/mmu_gather.c, arch/x86/kernel/kvm.c; specification sections 3.6 and 4.6, mm:C4 and mm:C5.
import { fails, only, patch, returned, safe, scenario, touched } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  call_rcu,
  flush_tlb_multi,
  get_user_pages_fast,
  gup_entries_unchanged,
  kvm_flush_tlb_multi,
  kvm_host,
  memcpy_from_page,
  munmap,
  new_mm,
  new_page,
  pte_table,
  tree_call_rcu,
  walk_page_range_rcu,
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
const NO_MEMORY = { alloc: { GFP_NOWAIT: 'fails' } } as const;

const RCU_ONLY_WALKER = {
  vCPU0: ({ mm }: State) => walk_page_range_rcu(mm, ADDR),
  vCPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE),
};

/** The caller of GUP-fast reads the page that it was given. */
const PAGE_READER = {
  *vCPU0({ mm }: State) {
    const page = yield* get_user_pages_fast(mm, ADDR);
    if (page) yield* memcpy_from_page(page, 0);
    return page;
  },
  vCPU1: ({ mm }: State) => munmap(mm, ADDR, PAGE_SIZE),
};

export default scenario<State>('pv-table-free', {
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
      ['tree', 'PT_RECLAIM', 'PT_RECLAIM, rcu-only walker'],
      touched('vCPU0', ({ pteA }) => pteA, 'pending'),
    ),
    'the page is returned': only(
      ['tree', 'sync_one', 'PT_RECLAIM'],
      returned(get_user_pages_fast, (page) => page !== null),
    ),
  },

  variants: {
    tree: safe({ patches: [...PV, patch(call_rcu, tree_call_rcu)] }),
    // The cross call that stands in for the batch is no paravirtual flush, so it is not skipped.
    sync_one: safe({ patches: PV, ...NO_MEMORY, shows: ['mm:C4'] }),
    // But it waits for walkers with interrupts off only.
    'sync_one, rcu-only walker': fails('use-after-free', {
      patches: PV,
      run: RCU_ONLY_WALKER,
      ...NO_MEMORY,
      shows: ['mm:C4', 'M3.7', 'L7'],
    }),
    // With PT_RECLAIM the table's own rcu_head takes it to RCU, which waits for both.
    PT_RECLAIM: safe({ patches: PV, config: { PT_RECLAIM: true }, ...NO_MEMORY, shows: ['mm:C5'] }),
    'PT_RECLAIM, rcu-only walker': safe({
      shows: ['mm:C5'],
      patches: PV,
      config: { PT_RECLAIM: true },
      run: RCU_ONLY_WALKER,
      ...NO_MEMORY,
    }),
    // Nothing waits when a page is freed; only the re-check finds that out.
    'no re-check': fails(['use-after-free', 'wrong-page'], {
      shows: ['M1.1'],
      patches: [
        ...PV,
        patch(gup_entries_unchanged, function* () {
          return true;
        }),
      ],
      foreign: 1,
      run: PAGE_READER,
    }),
  },
});
