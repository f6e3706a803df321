import { fn } from '../../../../machine/fn.ts';
import type { Steps } from '../../../../machine/op.ts';
import { local_irq_restore, local_irq_save } from '../../../../machine/ops/processor.ts';
import type { Mm } from '../../../mm/types.ts';
import {
  offset_lockless,
  p4dp_get,
  pgd_offset,
  pgdp_get,
  pmd_leaf,
  pmdp_get,
  pudp_get,
} from '../../../mm/pgtable.ts';

/**
 * How large a page the host has at an address, which is how large KVM may map it.
 *
 * Guarantee: the walk of the host's tables reads no table that has been freed. What it finds may be wrong by the
 * time it returns: who uses it holds mmu_lock and has seen no invalidation, or is content with a guess.
 * Mechanism: interrupts are off, as in GUP-fast: who frees a table sends an interrupt first, or waits for a
 * grace period. Each entry is read once, since it may change between two looks.
 * Why mmu_lock is not enough: it keeps out invalidations, and with them what unmaps pages. Tables are freed
 * behind them, in munmap() and where a huge page takes the place of a table.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (host_pfn_mapping_level). It reads entries of the PMD level and
 * above, so that tables of PTEs may go as they like.
 */
const walk_host_tables = fn(
  function* walk_host_tables(mm: Mm, hva: number): Steps<number> {
    const pgd = yield* pgdp_get(pgd_offset(mm, hva));
    if (!pgd.table) return 0;
    const p4d = yield* p4dp_get(offset_lockless(mm, pgd, 3, hva));
    if (!p4d.table) return 0;
    const pud = yield* pudp_get(offset_lockless(mm, p4d, 2, hva));
    if (pmd_leaf(pud)) return 2;
    if (!pud.table) return 0;
    const pmd = yield* pmdp_get(offset_lockless(mm, pud, 1, hva));
    return pmd_leaf(pmd) ? 1 : 0;
  },
  { hidden: true },
);

/** The level of the host's mapping: 0 for 4 KiB, 1 for 2 MiB, 2 for 1 GiB. */
export const host_pfn_mapping_level = fn(function* host_pfn_mapping_level(
  mm: Mm,
  hva: number,
): Steps<number> {
  const flags = yield* local_irq_save();
  const level = yield* walk_host_tables(mm, hva);
  yield* local_irq_restore(flags);
  return level;
});
