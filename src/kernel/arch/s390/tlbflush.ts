import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { broadcast_complete } from '../../../machine/ops/tlb.ts';
import type { Mm } from '../../mm/types.ts';

/**
 * IDTE.
 *
 * Guarantee: that of arch/flush.ts, and of the whole address space. Mechanism: IDTE by address-space-control
 * element is over when every CPU has dropped what it had of it, translations and table entries.
 * Entries are cleared before, without a flush: the kernel's way where only this CPU has the address space
 * attached. Where others have, it clears by IPTE (pgtable.ts), and this is for the tables only.
 *
 * Follows linux v6.12 arch/s390/include/asm/tlbflush.h, __tlb_flush_mm().
 */
const __tlb_flush_idte = leaf(
  function* __tlb_flush_idte(asce: number): Steps<void> {
    yield* broadcast_complete(asce, null, null, true);
  },
  { protects: { what: '__tlb_flush_idte()' } },
);

export const __tlb_flush_mm_lazy = fn(function* __tlb_flush_mm_lazy(
  mm: Mm,
  _start: number,
  _end: number,
  _freed_tables: boolean,
): Steps<void> {
  yield* __tlb_flush_idte(mm.pgd);
});
