import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { broadcast_complete, broadcast_issue, type ScopeArgs } from '../../../machine/ops/tlb.ts';
import { secondary_tlbs_flushed } from '../../mm/mmu_notifier-hooks.ts';
import type { Mm } from '../../mm/types.ts';

/**
 * TLBI and DSB.
 *
 * Guarantee: that of arch/flush.ts. Mechanism: TLBI ...IS tells every CPU of the inner shareable domain, and
 * DSB ISH waits until all have done it. Without freed tables it is the last-level form (TLBI VALE1IS), which
 * leaves walk caches as they are. A level (the TTL field, FEAT_TTL) limits it to leaf entries of that level.
 * Devices that walk the same tables are told between the two (__flush_tlb_range_nosync).
 *
 * Follows linux v6.12 arch/arm64/include/asm/tlbflush.h, __flush_tlb_range().
 */
export const tlbi = leaf(function* tlbi(...args: ScopeArgs): Steps<void> {
  yield* broadcast_issue(...args);
});

export const dsb_ish = leaf(
  function* dsb_ish(...args: ScopeArgs): Steps<void> {
    yield* broadcast_complete(...args);
  },
  { protects: { what: 'dsb_ish()' } },
);

export const __flush_tlb_range = fn(function* __flush_tlb_range(
  mm: Mm,
  start: number,
  end: number,
  freed_tables: boolean,
  tlb_level: number | null = null,
): Steps<void> {
  yield* tlbi(mm.pgd, start, end, freed_tables, tlb_level);
  yield* secondary_tlbs_flushed(mm, start, end);
  yield* dsb_ish(mm.pgd, start, end, freed_tables, tlb_level);
});
