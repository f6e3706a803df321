import { fn, leaf } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { choose } from '../../machine/ops/control.ts';
import { fetch_add } from '../../machine/ops/memory.ts';
import { allocate_frame, free_frame, markPending } from '../../machine/ops/pages.ts';
import { translations_gone, type Promised } from '../../machine/ops/tlb.ts';
import { flush_tlb_mm_range } from '../arch/flush.ts';
import { call_rcu } from '../kernel/rcu.ts';
import { smp_call_function_many } from '../kernel/smp.ts';
import { folio_put, read_pointer, write_pointer } from './page-ref.ts';
import type { Mm } from './types.ts';

/**
 * Collecting what an unmapping removes, and giving it back in the right order.
 *
 * Guarantee: (1) entries are unhooked, then (2) every CPU's TLB and walk caches are invalidated, then (3)
 * pages are freed and page tables are freed or handed to RCU. A page may be freed right after (2). A table
 * needs (2), because hardware may be walking it, and in addition a wait for software that walks it without
 * locks.
 *
 * Mechanism of that wait, by configuration:
 *  - MMU_GATHER_TABLE_FREE alone: none but the flush itself. It is enough exactly where the flush is an
 *    interrupt, which a walker with interrupts off delays, and where it reaches every CPU that can be
 *    walking this address space.
 *  - MMU_GATHER_RCU_TABLE_FREE: the batch of tables goes to call_rcu(); interrupts-off walkers are RCU
 *    readers. If there is no memory for a batch, tlb_remove_table_one() sends an interrupt to every CPU and
 *    frees when all have taken it. That waits for walkers with interrupts off only: it is not a grace
 *    period, and rcu_read_lock() holders take it happily (M3.7).
 *
 * A gather is private to its unmapper, except for the batch page, which the RCU callback reads later; that
 * one is memory. A batch page is one more allocation that may fail: GFP_NOWAIT is a choice.
 *
 * Follows linux v6.12 mm/mmu_gather.c and include/asm-generic/tlb.h.
 */
export interface MmuGather {
  readonly mm: Mm;
  start: number;
  end: number;
  freed_tables: boolean;
  /** Pages whose mapping reference goes when the flush is done. */
  pages: Page[];
  /** The table batch: its page and how many entries are used, or null. */
  batch: { readonly page: Page; nr: number; readonly tables: Page[] } | null;
  /** Entries that the next flush promises to have removed from every cache (for the check). */
  cleared: Promised[];
}

const NOTHING = Number.MAX_SAFE_INTEGER;

/** Begins an unmapping: announced before the first page-table lock is taken. */
export const tlb_gather_mmu = fn(function* tlb_gather_mmu(mm: Mm): Steps<MmuGather> {
  yield* fetch_add(mm.tlb_flush_pending, 1); // others that find an entry gone must know a flush is due
  return { mm, start: NOTHING, end: 0, freed_tables: false, pages: [], batch: null, cleared: [] };
});

/** Extends what the next flush must cover. */
export function tlb_flush_range(tlb: MmuGather, start: number, end: number): void {
  tlb.start = Math.min(tlb.start, start);
  tlb.end = Math.max(tlb.end, end);
}

/** Records that the entry at `source`, which said `bits`, was cleared. */
export function tlb_remove_tlb_entry(
  tlb: MmuGather,
  entry: Promised,
  start: number,
  size: number,
): void {
  tlb_flush_range(tlb, start, start + size);
  tlb.cleared.push(entry);
}

/** Queues a page whose mapping was removed. */
export function tlb_remove_page(tlb: MmuGather, page: Page): void {
  tlb.pages.push(page);
}

/** Step (2): invalidates translations and walk caches of everything unhooked so far. */
export const tlb_flush_mmu_tlbonly = fn(
  function* tlb_flush_mmu_tlbonly(tlb: MmuGather): Steps<void> {
    if (tlb.end === 0) return;
    yield* flush_tlb_mm_range(tlb.mm, tlb.start, tlb.end, tlb.freed_tables);
    yield* translations_gone(tlb.cleared);
    tlb.cleared = [];
    tlb.start = NOTHING;
    tlb.end = 0;
    tlb.freed_tables = false;
  },
  { onBehalf: true },
);

/** tlb_table_invalidate(): no table may reach RCU while a walk cache leads to it (M3.3). */
export const tlb_table_invalidate = fn(
  function* tlb_table_invalidate(tlb: MmuGather): Steps<void> {
    yield* tlb_flush_mmu_tlbonly(tlb);
  },
  { onBehalf: true },
);

/** Gives one table page back to the allocator. Nobody may be walking it, in software or hardware. */
export const __tlb_remove_table = leaf(function* __tlb_remove_table(table: Page): Steps<void> {
  yield* free_frame(table);
});

const SLOT = 8;

/** Frees the tables listed in a batch page, then the batch page. */
const __tlb_remove_table_free = fn(function* __tlb_remove_table_free(
  batch: Page,
  nr: number,
): Steps<void> {
  for (let slot = 0; slot < nr; slot++) {
    const table = yield* read_pointer(batch, slot * SLOT);
    yield* __tlb_remove_table(table);
  }
  yield* free_page(batch);
});

/** free_page() of a batch. */
const free_page = leaf(function* free_page(batch: Page): Steps<void> {
  yield* free_frame(batch);
});

/** The RCU callback of a batch of tables. */
export const tlb_remove_table_rcu = fn(function* tlb_remove_table_rcu(
  batch: Page,
  nr: number,
): Steps<void> {
  yield* __tlb_remove_table_free(batch, nr);
});

/** Hands a batch on: to RCU, or straight back where the flush itself was the wait. */
export const tlb_remove_table_free = fn(function* tlb_remove_table_free(
  tlb: MmuGather,
  batch: Page,
  nr: number,
  tables: readonly Page[],
): Steps<void> {
  if (tlb.mm.kernel.config.MMU_GATHER_RCU_TABLE_FREE) {
    yield* call_rcu(tlb_remove_table_rcu, [batch, nr], (machine) => {
      for (const table of tables) markPending(machine, table);
    });
  } else {
    yield* __tlb_remove_table_free(batch, nr);
  }
});

/** Step (3) for the tables collected so far. */
export const tlb_table_flush = fn(function* tlb_table_flush(tlb: MmuGather): Steps<void> {
  const { batch } = tlb;
  if (!batch) return;
  yield* tlb_table_invalidate(tlb);
  tlb.batch = null;
  yield* tlb_remove_table_free(tlb, batch.page, batch.nr, batch.tables);
});

/** What the interrupt of tlb_remove_table_sync_one() does: nothing; taking it is the point. */
const tlb_remove_table_smp_sync = fn(function* tlb_remove_table_smp_sync(): Steps<void> {
  // Having been interrupted shows that this CPU was outside every region with interrupts off.
});

/**
 * Waits until every CPU has taken an interrupt: every walk with interrupts off that could have seen the
 * table before it was unhooked is over. An ordinary cross call, so no paravirtual flush skips it. NOT an
 * RCU grace period.
 */
export const tlb_remove_table_sync_one = fn(function* tlb_remove_table_sync_one(
  mm: Mm,
): Steps<void> {
  const all = mm.kernel.cpus.map(({ cpu }) => cpu);
  yield* smp_call_function_many(all, tlb_remove_table_smp_sync);
});

/** The table of a batch that could not be had. With PT_RECLAIM the table's own rcu_head is used instead. */
export const tlb_remove_table_one = fn(function* tlb_remove_table_one(
  mm: Mm,
  table: Page,
): Steps<void> {
  if (mm.kernel.config.PT_RECLAIM) {
    yield* call_rcu(__tlb_remove_table, [table], (machine) => markPending(machine, table));
    return;
  }
  yield* tlb_remove_table_sync_one(mm);
  yield* __tlb_remove_table(table);
});

/** __get_free_page(GFP_NOWAIT): a batch page, or null. */
export const get_batch_page = fn(function* __get_free_page(mm: Mm): Steps<Page | null> {
  const { gfp_nowait } = mm.kernel;
  const answer =
    gfp_nowait === 'either' ? yield* choose('GFP_NOWAIT', ['ok', 'fails']) : gfp_nowait;
  if (answer === 'fails') return null;
  return yield* allocate_frame({ what: 'batch', level: -1, recycle: false });
});

/** Queues an unhooked table for freeing. */
export const tlb_remove_table = fn(function* tlb_remove_table(
  tlb: MmuGather,
  table: Page,
): Steps<void> {
  if (!tlb.batch) {
    const page = yield* get_batch_page(tlb.mm);
    if (!page) {
      yield* tlb_table_invalidate(tlb);
      yield* tlb_remove_table_one(tlb.mm, table);
      return;
    }
    tlb.batch = { page, nr: 0, tables: [] };
  }
  yield* write_pointer(tlb.batch.page, tlb.batch.nr * SLOT, table);
  tlb.batch.nr++;
  tlb.batch.tables.push(table);
  if (tlb.batch.nr === tlb.mm.kernel.config.MAX_TABLE_BATCH) yield* tlb_table_flush(tlb);
});

/** pte_free_tlb(): the table that covered [addr, addr + size) was unhooked by clearing `entry`. */
export const pte_free_tlb = fn(function* pte_free_tlb(
  tlb: MmuGather,
  table: Page,
  entry: Promised,
  addr: number,
  size: number,
): Steps<void> {
  tlb_remove_tlb_entry(tlb, entry, addr, size);
  tlb.freed_tables = true; // lazy CPUs must drop their walk caches too (M3.8)
  yield* tlb_remove_table(tlb, table);
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
  const pages = tlb.pages;
  tlb.pages = [];
  for (const page of pages) yield* folio_put(page);
});

/** Ends an unmapping. */
export const tlb_finish_mmu = fn(function* tlb_finish_mmu(tlb: MmuGather): Steps<void> {
  yield* tlb_flush_mmu(tlb);
  yield* fetch_add(tlb.mm.tlb_flush_pending, -1); // only now is the flush that was announced over
});
