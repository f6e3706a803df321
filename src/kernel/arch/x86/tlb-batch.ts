import { fn, smp_processor_id } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import {
  local_irq_restore,
  local_irq_save,
  preempt_disable,
  preempt_enable,
} from '../../../machine/ops/processor.ts';
import { secondary_tlbs_flushed } from '../../mm/mmu_notifier-hooks.ts';
import type { Kernel, Mm } from '../../mm/types.ts';
import {
  flush_tlb_func,
  flush_tlb_multi,
  inc_mm_tlb_gen,
  mm_cpumask,
  type FlushInfo,
} from './tlb.ts';
import { TLB_FLUSH_ALL, TLB_GENERATION_INVALID } from './tlbstate.ts';

/**
 * Reclaim flushes once for many pages of many address spaces.
 *
 * Guarantee: when arch_tlbbatch_flush() returns, no CPU can use a translation to any page that was added.
 * Mechanism: adding raises the generation of the address space, so that a CPU which loads it later, or
 * stops being lazy, flushes by itself, and collects the CPUs that run it now. The flush then interrupts
 * those. It is for no address space and no generation: whoever is interrupted catches up with what he has
 * loaded (M4.6 takes "no generation" for an old one).
 * Devices that walk the tables are told when an entry is added: what they have cached cannot be put off.
 * Assumes: nobody looks at the pages' entries and concludes from "none" that they are flushed; those who
 * would call flush_tlb_batched_pending() (mm/tlb-batched.ts).
 *
 * Follows linux v6.12 arch/x86/mm/tlb.c (arch_tlbbatch_flush) and arch/x86/include/asm/tlbflush.h.
 */

/** struct arch_tlbflush_unmap_batch: a task's own. */
export interface UnmapBatch {
  readonly kernel: Kernel;
  readonly cpumask: Set<number>;
}

export function new_batch(kernel: Kernel): UnmapBatch {
  return { kernel, cpumask: new Set() };
}

/** An entry of `mm` was cleared; its flush is left for later. */
export const arch_tlbbatch_add_pending = fn(function* arch_tlbbatch_add_pending(
  batch: UnmapBatch,
  mm: Mm,
): Steps<void> {
  yield* inc_mm_tlb_gen(mm);
  for (const cpu of yield* mm_cpumask(mm)) batch.cpumask.add(cpu);
  yield* secondary_tlbs_flushed(mm, 0, Number.MAX_SAFE_INTEGER);
});

export const arch_tlbbatch_flush = fn(function* arch_tlbbatch_flush(
  batch: UnmapBatch,
): Steps<void> {
  const self = smp_processor_id();
  yield* preempt_disable(); // get_cpu()
  const info: FlushInfo = Object.freeze({
    kernel: batch.kernel,
    mm: null,
    start: 0,
    end: TLB_FLUSH_ALL,
    new_tlb_gen: TLB_GENERATION_INVALID,
    freed_tables: false,
  });
  const others = [...batch.cpumask].filter((cpu) => cpu !== self).sort((a, b) => a - b);
  if (others.length > 0) yield* flush_tlb_multi(others, info);
  if (batch.cpumask.has(self)) {
    const flags = yield* local_irq_save();
    yield* flush_tlb_func(info);
    yield* local_irq_restore(flags);
  }
  batch.cpumask.clear();
  yield* preempt_enable();
});
