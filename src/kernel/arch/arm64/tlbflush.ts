import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { broadcast_complete, broadcast_issue, type ScopeArgs } from '../../../machine/ops/tlb.ts';
import type { Mm } from '../../mm/types.ts';

/**
 * TLBI and DSB.
 *
 * Guarantee: that of arch/flush.ts. Mechanism: TLBI ...IS tells every CPU of the inner shareable domain, and
 * DSB ISH waits until all have done it. Without freed tables it is the last-level form (TLBI VALE1IS), which
 * leaves walk caches as they are.
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
): Steps<void> {
  yield* tlbi(mm.pgd, start, end, freed_tables);
  yield* dsb_ish(mm.pgd, start, end, freed_tables);
});
