// "Nobody else uses this address space", and a CPU that is lazy.  linux mm/mmu_gather.c, 2018.
import { entered, fails, fn, patch, safe, scenario, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  __tlb_remove_table,
  context_switch,
  flush_tlb_func,
  kernel_of,
  munmap,
  new_mm,
  new_page,
  tlb_remove_table,
  type Kernel,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
}

/** The process's other thread has ended; a kernel thread runs on in its address space. */
const do_idle = fn(function* do_idle(kernel: Kernel): Steps<void> {
  yield* context_switch(kernel, null);
});

export default scenario<State>('rcu-table-single-user-shortcut', {
  title: 'linux: with one user of the address space, a table was freed without a flush',
  citation:
    'linux commit a6f572084fbe (the id is from memory), "mm/tlb: Remove tlb_remove_table() non-concurrent condition", 2018',
  story:
    'tlb_remove_table() had a short way: if mm_users was 1 nobody could be walking the tables, and the table went ' +
    'back to the allocator at once, before any invalidation. That counts software. A CPU that runs a kernel thread ' +
    'keeps the root of the last process, and its hardware may walk from there at any moment, through what it has ' +
    'cached of the upper levels, into the freed table. The cure has no short way: invalidate, then a grace period.',

  machine: x86_64({ cpus: 2 }),
  config: { MMU_GATHER_RCU_TABLE_FREE: true },
  foreign: 1,

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') });
    return { kernel: kernel_of(m), mm };
  },

  run: {
    CPU0: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
    CPU1: ({ kernel }) => do_idle(kernel),
  },

  sometimes: {
    'the idle CPU is interrupted': entered(null, flush_tlb_func),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:rcu-table-single-user-shortcut'],
      patches: [
        patch(tlb_remove_table, function* (_tlb, table) {
          yield* __tlb_remove_table(table); // atomic_read(&tlb->mm->mm_users) < 2
        }),
      ],
    }),
    fixed: safe(),
  },
});
