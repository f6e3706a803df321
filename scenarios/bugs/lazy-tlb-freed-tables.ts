// A lazy CPU is not interrupted, and goes on walking freed tables.  linux arch/x86, 2017.
import { entered, fails, patch, safe, scenario } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  context_switch,
  flush_tlb_func,
  kernel_of,
  munmap,
  native_flush_tlb_multi,
  new_mm,
  new_page,
  should_flush_tlb,
  smp_call_function_many,
  type Kernel,
  type Mm,
  type PerCpu,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
}

export default scenario<State>('lazy-tlb-freed-tables', {
  title: 'x86: lazy CPUs are left out of flushes that free page tables',
  citation: 'linux commit b956575bed91, "x86/mm: Flush more aggressively in lazy TLB mode", 2017',
  story:
    'A CPU that runs a kernel thread keeps the root of the last process, uses none of its addresses, and was spared ' +
    'the interrupts of its flushes. But the hardware walks when it likes, also by speculation, and what the CPU had ' +
    'cached of the upper levels led into tables that were freed: bogus translations, and machine checks on AMD. The ' +
    'cure flushed while lazy, too; today only flushes that free tables interrupt lazy CPUs.',

  machine: x86_64({ cpus: 2 }),
  config: { MMU_GATHER_RCU_TABLE_FREE: false },
  foreign: 1,

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') });
    return { kernel: kernel_of(m), mm };
  },

  run: {
    CPU0: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
    *CPU1({ kernel, mm }) {
      yield* context_switch(kernel, null);
      yield* context_switch(kernel, mm);
    },
  },

  sometimes: {
    'CPU1 is interrupted': entered('IPI: flush_tlb_func', flush_tlb_func),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:lazy-tlb-freed-tables'],
      patches: [
        patch(native_flush_tlb_multi, function* (mask, info) {
          const targets: number[] = [];
          for (const cpu of mask) {
            const other = info.kernel.cpus[cpu] as PerCpu;
            if (yield* should_flush_tlb(other, info)) targets.push(cpu); // whatever is freed
          }
          yield* smp_call_function_many(targets, flush_tlb_func, info);
        }),
      ],
    }),
    fixed: safe(),
  },
});
