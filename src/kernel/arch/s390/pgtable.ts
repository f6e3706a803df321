import { leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { xchg_entry_flush } from '../../../machine/ops/tlb.ts';
import { PAGE_SIZE } from '../../mm/layout.ts';
import { NONE } from '../../mm/pgtable.ts';
import type { Mm, Pte, Ptep } from '../../mm/types.ts';

/**
 * IPTE.
 *
 * Guarantee: when it returns, the entry is empty and no CPU has anything of it cached. Mechanism: one
 * instruction makes the entry invalid and tells all CPUs, and is over when they have done it. The page that
 * was mapped may therefore be freed at once, without a flush for what was gathered.
 * Not modelled: that the entry is invalid for a moment before the kernel stores the empty one; both are not
 * present.
 *
 * Follows linux v6.12 arch/s390/mm/pgtable.c, ptep_xchg_direct().
 */
export const ptep_xchg_direct = leaf(function* ptep_xchg_direct(
  mm: Mm,
  addr: number,
  ptep: Ptep,
): Steps<Pte> {
  return yield* xchg_entry_flush(ptep, NONE, mm.pgd, addr, addr + PAGE_SIZE, false);
});
