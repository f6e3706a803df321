import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { entry_relied_on } from '../../machine/ops/halves.ts';
import { local_irq_restore, local_irq_save } from '../../machine/ops/processor.ts';
import { mm_find_pmd } from '../mm/rmap.ts';
import {
  offset_lockless,
  pmdp_get_lockless,
  pte_present,
  ptep_get_lockless,
} from '../mm/pgtable.ts';
import type { Mm } from '../mm/types.ts';

/**
 * The size of the page behind a sampled address: a walk from a counter's interrupt, which can take no lock.
 *
 * Guarantee: the answer is that of an entry which somebody stored. It may be an old one. Mechanism: interrupts
 * are off, so the tables stay; and each entry is loaded so that its halves belong together. Nothing is read
 * again: what the loads promise is all there is (the proviso in mm/pgtable-access.ts).
 *
 * Follows linux v6.12 kernel/events/core.c (perf_get_page_size, perf_get_pgtable_size).
 */
export const perf_get_page_size = fn(function* perf_get_page_size(
  mm: Mm,
  addr: number,
): Steps<boolean> {
  const flags = yield* local_irq_save(); // tables are not freed
  const size = yield* perf_get_pgtable_size(mm, addr);
  yield* local_irq_restore(flags);
  return size;
});

/** Is there a page? Its size is one of few, so `true` stands for all. */
const perf_get_pgtable_size = fn(function* perf_get_pgtable_size(
  mm: Mm,
  addr: number,
): Steps<boolean> {
  const pmdp = yield* mm_find_pmd(mm, addr);
  if (!pmdp) return false;
  const pmd = yield* pmdp_get_lockless(pmdp);
  if (!pmd.table) return false;
  const pte = yield* ptep_get_lockless(offset_lockless(mm, pmd, 0, addr));
  yield* entry_relied_on(pte, 'tells the size of');
  return pte_present(pte);
});
