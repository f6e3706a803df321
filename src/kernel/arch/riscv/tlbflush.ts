import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { broadcast_complete } from '../../../machine/ops/tlb.ts';
import type { Mm } from '../../mm/types.ts';

/**
 * SFENCE.VMA on other harts.
 *
 * Guarantee: that of arch/flush.ts. Mechanism: the firmware interrupts the other harts, above the kernel, and
 * returns when each has executed SFENCE.VMA; a kernel with interrupts off does not notice. Without the RFENCE
 * extension the kernel sends interrupts itself, which is x86's way and not modelled.
 *
 * Follows linux v6.12 arch/riscv/mm/tlbflush.c, __flush_tlb_range().
 */
const sbi_remote_sfence_vma_asid = leaf(
  function* sbi_remote_sfence_vma_asid(mm: Mm, start: number, end: number): Steps<void> {
    yield* broadcast_complete(mm.pgd, start, end, true);
  },
  { protects: { what: 'sbi_remote_sfence_vma_asid()' } },
);

export const riscv_flush_tlb_range = fn(function* __flush_tlb_range(
  mm: Mm,
  start: number,
  end: number,
  _freed_tables: boolean,
): Steps<void> {
  yield* sbi_remote_sfence_vma_asid(mm, start, end);
});
