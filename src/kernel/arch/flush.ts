import type { Shootdown } from '../../machine/arch.ts';
import { fn, type KernelFn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { PAGE_SIZE } from '../mm/layout.ts';
import { secondary_tlbs_flushed } from '../mm/mmu_notifier-hooks.ts';
import type { Mm } from '../mm/types.ts';
import { __flush_tlb_range } from './arm64/tlbflush.ts';
import { radix__tlb_flush } from './powerpc/radix-tlb.ts';
import { riscv_flush_tlb_range } from './riscv/tlbflush.ts';
import { __tlb_flush_mm_lazy } from './s390/tlbflush.ts';
import { x86_flush_tlb_mm_range } from './x86/tlb.ts';

/**
 * flush_tlb_mm_range(): what every architecture promises, and the ways of keeping it.
 *
 * Guarantee: when it returns, no CPU holds a translation that contradicts the entries of [start, end) as
 * they were when it was called; with `freed_tables`, no walk-cache entry either. With a `tlb_level` it covers
 * leaf entries of that level only, where there are such hints (arm64).
 * Mechanism: the descriptor says which. By interrupt (x86/tlb.ts), the flush also waits for regions with
 * interrupts off on its targets. By broadcast it does not: the other CPUs execute nothing (M3.2).
 * Devices that walk the process's tables are told where there are such devices: on x86 and powerpc behind the
 * flush, on arm64 before its DSB (arm64/tlbflush.ts), elsewhere never (6bbd42e2df8f).
 */
type RangeFlush = KernelFn<
  [mm: Mm, start: number, end: number, freed_tables: boolean, tlb_level: number | null],
  void
>;

const BY: Readonly<Record<Shootdown, RangeFlush>> = {
  ipi: x86_flush_tlb_mm_range,
  tlbi: __flush_tlb_range,
  tlbie: radix__tlb_flush,
  idte: __tlb_flush_mm_lazy,
  sbi: riscv_flush_tlb_range,
};

/** Whose function tells them when it has flushed. */
const TELLS_DEVICES: ReadonlySet<Shootdown> = new Set(['ipi', 'tlbie']);

export const flush_tlb_mm_range = fn(
  function* flush_tlb_mm_range(
    mm: Mm,
    start: number,
    end: number,
    freed_tables: boolean,
    tlb_level: number | null = null,
  ): Steps<void> {
    const { flush } = mm.kernel.arch;
    yield* BY[flush](mm, start, end, freed_tables, tlb_level);
    if (TELLS_DEVICES.has(flush)) yield* secondary_tlbs_flushed(mm, start, end);
  },
  { hidden: true, protects: { what: 'flush_tlb_mm_range()' } },
);

/** Of one page; its table stays. */
export const flush_tlb_page = fn(function* flush_tlb_page(mm: Mm, addr: number): Steps<void> {
  yield* flush_tlb_mm_range(mm, addr, addr + PAGE_SIZE, false);
});

/** Of the whole address space. */
export const flush_tlb_mm = fn(function* flush_tlb_mm(mm: Mm): Steps<void> {
  yield* flush_tlb_mm_range(mm, 0, Number.MAX_SAFE_INTEGER, true);
});

/** Of a range in which entries of upper tables may have been cleared, too. */
export const flush_tlb_range = fn(function* flush_tlb_range(
  mm: Mm,
  start: number,
  end: number,
): Steps<void> {
  yield* flush_tlb_mm_range(mm, start, end, true);
});
