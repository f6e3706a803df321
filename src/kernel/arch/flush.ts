import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { dsb_ish, tlbi } from '../../machine/ops/tlb.ts';
import type { Mm } from '../mm/types.ts';
import { x86_flush_tlb_mm_range } from './x86/tlb.ts';

/**
 * flush_tlb_mm_range(): what every architecture promises, and the two ways of keeping it.
 *
 * Guarantee: when it returns, no CPU holds a translation that contradicts the entries of [start, end) as
 * they were when it was called; with `freed_tables`, no walk-cache entry either.
 * Mechanism: the descriptor says how. By interrupt (arch/x86/tlb.ts), the flush also waits for regions with
 * interrupts off on its targets. By broadcast it does not: the other CPUs execute nothing (M3.2).
 */
export const flush_tlb_mm_range = fn(
  function* flush_tlb_mm_range(
    mm: Mm,
    start: number,
    end: number,
    freed_tables: boolean,
  ): Steps<void> {
    if (mm.kernel.arch.flush === 'ipi') {
      yield* x86_flush_tlb_mm_range(mm, start, end, freed_tables);
    } else {
      yield* broadcast_flush_tlb_range(mm, start, end, freed_tables);
    }
  },
  { hidden: true, protects: { what: 'flush_tlb_mm_range()' } },
);

/** linux v6.12 arch/arm64/include/asm/tlbflush.h, __flush_tlb_range(): TLBI ...IS, then DSB ISH. */
export const broadcast_flush_tlb_range = fn(function* __flush_tlb_range(
  mm: Mm,
  start: number,
  end: number,
  freed_tables: boolean,
): Steps<void> {
  yield* tlbi(mm.pgd, start, end, freed_tables);
  yield* dsb_ish(mm.pgd, start, end, freed_tables);
});
