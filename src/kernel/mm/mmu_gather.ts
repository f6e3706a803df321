import { fn, leaf } from '../../machine/fn.ts';
import { no } from '../../machine/protection.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE, add_word } from '../../machine/ops/memory.ts';
import { translations_gone, type Promised } from '../../machine/ops/tlb.ts';
import {
  __tlb_remove_page,
  __tlb_reset_range,
  tlb_flush_mmu_tlbonly,
  tlb_remove_tlb_entry,
  type MmuGather,
} from './mmu_gather-range.ts';
import { tlb_remove_table, tlb_table_flush } from './mmu_gather-tables.ts';
import { folio_put } from './page-ref.ts';
import type { Mm } from './types.ts';

/**
 * Collecting what an unmapping removes, and giving it back in the right order.
 *
 * Guarantee: (1) entries are unhooked, then (2) every CPU's TLB and walk caches are invalidated, then (3)
 * pages are freed and page tables are freed or handed to RCU. A page may be freed right after (2). A table
 * needs (2), because hardware may be walking it, and in addition a wait for software that walks it without
 * locks: see mmu_gather-tables.ts. When it is over, no CPU uses a translation of the range that was there when
 * it began, even if somebody else cleared the entry.
 *
 * Mechanism: `start`, `end` and one flag for each level say what the next flush must cover. Who finds an entry
 * that another unmapping has cleared and not flushed yet cannot know its level and range; `tlb_flush_pending`
 * tells it that there is such an unmapping, and then it flushes the whole address space.
 * Why the counter is enough: it goes up before the first page-table lock is taken and down after the flush, and
 * whoever sees a cleared entry does so under the lock that it was cleared under.
 *
 * A dirty page of a file stays in the reverse mapping until its flush is done (`delayed_rmap`): until then a
 * CPU may store to it without touching an entry, so writeback must still find the mapping, and wait for the
 * page-table lock that the flush happens under (M3.12).
 *
 * Assumes: a batch of pages is the one on the kernel's stack (MMU_GATHER_BUNDLE); further batches, which the
 * kernel allocates where it can, only put off the same flush.
 *
 * Follows linux v6.12 mm/mmu_gather.c and include/asm-generic/tlb.h.
 */

/** Tells others, who find an entry gone, that a flush is due. Before the first page-table lock. */
export const inc_tlb_flush_pending = leaf(function* inc_tlb_flush_pending(mm: Mm): Steps<void> {
  yield* add_word(mm.tlb_flush_pending, 1);
});

/** The flush that was announced is over. */
export const dec_tlb_flush_pending = leaf(function* dec_tlb_flush_pending(mm: Mm): Steps<void> {
  yield* add_word(mm.tlb_flush_pending, -1);
});

/** mm_tlb_flush_pending(): may an entry have been changed whose flush is still to come? */
export const mm_tlb_flush_pending = fn(
  function* mm_tlb_flush_pending(mm: Mm): Steps<boolean> {
    return (yield* READ_ONCE(mm.tlb_flush_pending)) > 0;
  },
  { hidden: true, protects: { what: 'mm_tlb_flush_pending()', without: no } },
);

/** mm_tlb_flush_nested(): is there another unmapping besides the one that asks? */
export const mm_tlb_flush_nested = fn(
  function* mm_tlb_flush_nested(mm: Mm): Steps<boolean> {
    return (yield* READ_ONCE(mm.tlb_flush_pending)) > 1;
  },
  { hidden: true, protects: { what: 'mm_tlb_flush_nested()', without: no } },
);

/** Begins an unmapping. */
export const tlb_gather_mmu = fn(function* tlb_gather_mmu(mm: Mm): Steps<MmuGather> {
  yield* inc_tlb_flush_pending(mm);
  const tlb = {
    mm,
    fullmm: false,
    delayed_rmap: false,
    pages: [],
    found: [],
    batch: null,
  } as Partial<MmuGather>;
  __tlb_reset_range(tlb as MmuGather);
  return tlb as MmuGather;
});

export const tlb_remove_page = fn(
  function* tlb_remove_page(tlb: MmuGather, page: Page): Steps<void> {
    if (__tlb_remove_page(tlb, page, false)) yield* tlb_flush_mmu(tlb);
  },
  { hidden: true },
);

/** ___pte_free_tlb(): the architecture's way to queue an unhooked table. */
export const ___pte_free_tlb = fn(
  function* ___pte_free_tlb(tlb: MmuGather, table: Page): Steps<void> {
    if (tlb.mm.kernel.config.MMU_GATHER_TABLE_FREE) yield* tlb_remove_table(tlb, table);
    else yield* tlb_remove_page(tlb, table);
  },
  { hidden: true },
);

/** pte_free_tlb(): the table that covered [addr, addr + size) was unhooked by clearing `entry`. */
export const pte_free_tlb = fn(function* pte_free_tlb(
  tlb: MmuGather,
  table: Page,
  entry: Promised,
  addr: number,
  size: number,
): Steps<void> {
  tlb_remove_tlb_entry(tlb, entry, addr, size, 1);
  tlb.freed_tables = true; // lazy CPUs must drop their walk caches too (M3.8)
  yield* ___pte_free_tlb(tlb, table);
});

/** Steps (2) and (3) for everything collected so far. */
export const tlb_flush_mmu = fn(function* tlb_flush_mmu(tlb: MmuGather): Steps<void> {
  yield* tlb_flush_mmu_tlbonly(tlb);
  yield* tlb_table_flush(tlb);
  yield* tlb_batch_pages_flush(tlb);
});

/** Drops the mapping references of the collected pages. */
export const tlb_batch_pages_flush = fn(function* tlb_batch_pages_flush(
  tlb: MmuGather,
): Steps<void> {
  const { pages } = tlb;
  tlb.pages = [];
  for (const { page } of pages) yield* folio_put(page);
});

/** Another unmapping is going on: what it cleared and this one found gone may be of any level, anywhere. */
export const tlb_flush_nested = fn(
  function* tlb_flush_nested(tlb: MmuGather): Steps<void> {
    if (!(yield* mm_tlb_flush_nested(tlb.mm))) return;
    tlb.fullmm = true;
    tlb.freed_tables = true; // every level, walk caches and lazy CPUs included (M3.11)
  },
  { hidden: true, onBehalf: true },
);

/** Ends an unmapping. */
export const tlb_finish_mmu = fn(function* tlb_finish_mmu(tlb: MmuGather): Steps<void> {
  yield* tlb_flush_nested(tlb);
  yield* tlb_flush_mmu(tlb);
  yield* translations_gone(tlb.found);
  yield* dec_tlb_flush_pending(tlb.mm);
});
