import { fn, leaf } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { choose } from '../../machine/ops/control.ts';
import { allocate_frame, free_frame, markPending } from '../../machine/ops/pages.ts';
import { call_rcu } from '../kernel/rcu.ts';
import { smp_call_function_many } from '../kernel/smp.ts';
import { tlb_flush_mmu_tlbonly, type MmuGather } from './mmu_gather-range.ts';
import { read_pointer, write_pointer } from './page-ref.ts';
import { pagetable_dtor } from './ptlock.ts';
import type { Kernel, Mm } from './types.ts';

/**
 * Freeing page tables.
 *
 * Guarantee: a table goes back to the allocator when no CPU's walk caches lead to it and nobody walks it in
 * software without a lock. The flush is the wait for the first, by configuration this for the second:
 *  - neither: tables are queued like pages; the flush itself must be the wait.
 *  - MMU_GATHER_TABLE_FREE alone: tables have batches of their own; the same wait. It is enough exactly where
 *    the flush is an interrupt, which a walker with interrupts off delays, and where it reaches every CPU
 *    that can be walking this address space.
 *  - MMU_GATHER_RCU_TABLE_FREE: the batch of tables goes to call_rcu(); interrupts-off walkers are RCU
 *    readers. If there is no memory for a batch, tlb_remove_table_one() sends an interrupt to every CPU and
 *    frees when all have taken it. That waits for walkers with interrupts off only: it is not a grace
 *    period, and rcu_read_lock() holders take it happily (M3.7). With PT_RECLAIM, the table's own rcu_head
 *    takes it to RCU instead.
 *
 * A gather is private to its unmapper, except for the batch page, which the RCU callback reads later; that
 * one is memory. A batch page is one more allocation that may fail: GFP_NOWAIT is a choice.
 *
 * Follows linux v6.12 mm/mmu_gather.c and include/asm-generic/tlb.h; PT_RECLAIM is of v6.14.
 */

/** Does hardware walk these tables? powerpc with a hash MMU is the one where it does not. */
export const tlb_needs_table_invalidate = fn(
  function* tlb_needs_table_invalidate(): Steps<boolean> {
    return true;
  },
  { hidden: true },
);

/** tlb_table_invalidate(): no table may reach RCU while a walk cache leads to it (M3.3). */
export const tlb_table_invalidate = fn(
  function* tlb_table_invalidate(tlb: MmuGather): Steps<void> {
    if (yield* tlb_needs_table_invalidate()) yield* tlb_flush_mmu_tlbonly(tlb);
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
  kernel: Kernel,
  batch: Page,
  nr: number,
): Steps<void> {
  for (let slot = 0; slot < nr; slot++) {
    const table = yield* read_pointer(batch, slot * SLOT);
    yield* pagetable_dtor(kernel, table);
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
  kernel: Kernel,
  batch: Page,
  nr: number,
): Steps<void> {
  yield* __tlb_remove_table_free(kernel, batch, nr);
});

/** Hands a batch on: to RCU, or straight back where the flush itself was the wait. */
export const tlb_remove_table_free = fn(function* tlb_remove_table_free(
  tlb: MmuGather,
  batch: Page,
  nr: number,
  tables: readonly Page[],
): Steps<void> {
  const { kernel } = tlb.mm;
  if (kernel.config.MMU_GATHER_RCU_TABLE_FREE) {
    yield* call_rcu(tlb_remove_table_rcu, [kernel, batch, nr], (machine) => {
      for (const table of tables) markPending(machine, table);
    });
  } else {
    yield* __tlb_remove_table_free(kernel, batch, nr);
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

/** The RCU callback of a single table: PT_RECLAIM, linux v6.14. */
export const __tlb_remove_table_one_rcu = fn(function* __tlb_remove_table_one_rcu(
  kernel: Kernel,
  table: Page,
): Steps<void> {
  yield* pagetable_dtor(kernel, table);
  yield* __tlb_remove_table(table);
});

/** The table of a batch that could not be had. With PT_RECLAIM the table's own rcu_head is used instead. */
export const tlb_remove_table_one = fn(function* tlb_remove_table_one(
  mm: Mm,
  table: Page,
): Steps<void> {
  if (mm.kernel.config.PT_RECLAIM) {
    const args = [mm.kernel, table] as const;
    yield* call_rcu(__tlb_remove_table_one_rcu, args, (machine) => markPending(machine, table));
    return;
  }
  yield* tlb_remove_table_sync_one(mm);
  yield* pagetable_dtor(mm.kernel, table);
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
