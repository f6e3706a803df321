import { fn } from '../../machine/fn.ts';
import { no } from '../../machine/protection.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { translations_cached, translations_gone, type Promised } from '../../machine/ops/tlb.ts';
import { flush_tlb_mm_range } from '../arch/flush.ts';
import { folio_remove_rmap_pte } from './rmap.ts';
import type { Mm } from './types.ts';

/** What a gather has collected, and step (2) of it: the flush. The protocol is told in mmu_gather.ts. */
export interface MmuGather {
  readonly mm: Mm;
  start: number;
  end: number;
  /** Everything is flushed, whatever `start` and `end` say. */
  fullmm: boolean;
  /** Tables were unhooked: walk caches too must go, on lazy CPUs as well. */
  freed_tables: boolean;
  /** Levels at which entries were cleared: cleared_ptes, cleared_pmds, ... by level. */
  cleared: readonly number[];
  /** A page waits for its flush before it leaves the reverse mapping. */
  delayed_rmap: boolean;
  /** Pages whose mapping reference goes when the flush is done. */
  pages: readonly GatheredPage[];
  batch: TableBatch | null;
  /**
   * For the check: entries that the next flush promises to have removed from every cache, and those that others
   * cleared, of which nothing may be left at the end.
   */
  promised: readonly Promised[];
  found: readonly Promised[];
}

/** The table batch: its page, how many entries are used, and (for the check) which tables they are. */
export interface TableBatch {
  readonly page: Page;
  nr: number;
  readonly tables: Page[];
}

export interface GatheredPage {
  readonly page: Page;
  /** It leaves the reverse mapping only after the flush: ENCODED_PAGE_BIT_DELAY_RMAP. */
  readonly delay_rmap: boolean;
}

export const NOTHING = Number.MAX_SAFE_INTEGER;

/** __tlb_reset_range(): nothing is to be flushed. */
export function __tlb_reset_range(tlb: MmuGather): void {
  tlb.start = NOTHING;
  tlb.end = 0;
  tlb.freed_tables = false;
  tlb.cleared = [];
  tlb.promised = [];
}

/** Extends what the next flush must cover by entries of one level. */
export function tlb_flush_range(tlb: MmuGather, start: number, end: number, level: number): void {
  tlb.start = Math.min(tlb.start, start);
  tlb.end = Math.max(tlb.end, end);
  if (!tlb.cleared.includes(level)) tlb.cleared = [...tlb.cleared, level];
}

/** tlb_remove_tlb_entry(), tlb_remove_pmd_tlb_entry(): `entry`, which covered [start, start + size), was cleared. */
export function tlb_remove_tlb_entry(
  tlb: MmuGather,
  entry: Promised,
  start: number,
  size: number,
  level: number,
): void {
  tlb_flush_range(tlb, start, start + size, level);
  tlb.promised = [...tlb.promised, entry];
}

/** The entry at `source` was cleared already: the flush of this unmapping answers for its translations too. */
export const tlb_found_cleared = fn(
  function* tlb_found_cleared(tlb: MmuGather, source: number): Steps<void> {
    tlb.found = [...tlb.found, ...(yield* translations_cached(source))];
  },
  { hidden: true },
);

/**
 * Queues a page whose mapping was removed. True: the batch is full, and the caller must flush before it goes
 * on.
 */
export function __tlb_remove_page(tlb: MmuGather, page: Page, delay_rmap: boolean): boolean {
  tlb.pages = [...tlb.pages, { page, delay_rmap }];
  return tlb.pages.length >= tlb.mm.kernel.config.MAX_GATHER_BATCH;
}

/** tlb_delay_rmap(): must a dirty page of a file wait for the flush before it leaves the reverse mapping? */
export const tlb_delay_rmap = fn(
  function* tlb_delay_rmap(tlb: MmuGather): Steps<boolean> {
    if (tlb.mm.kernel.cpus.length === 1) return false; // nobody else can be storing: no CONFIG_SMP
    tlb.delayed_rmap = true;
    return true;
  },
  { hidden: true, protects: { what: 'tlb_delay_rmap()', without: no } },
);

/** Takes the pages that had to wait for the flush out of the reverse mapping. Under the page-table lock still. */
export const tlb_flush_rmaps = fn(function* tlb_flush_rmaps(tlb: MmuGather): Steps<void> {
  if (!tlb.delayed_rmap) return;
  for (const { page, delay_rmap } of tlb.pages) {
    if (delay_rmap) yield* folio_remove_rmap_pte(tlb.mm, page);
  }
  tlb.pages = tlb.pages.map(({ page }) => ({ page, delay_rmap: false }));
  tlb.delayed_rmap = false;
});

/** tlb_get_level(): the level of all entries that were cleared, if it is one, or null: no hint. */
export function tlb_get_level({ freed_tables, cleared }: MmuGather): number | null {
  if (freed_tables || cleared.length !== 1) return null;
  return cleared[0] ?? null;
}

/** tlb_flush(): what the architecture does about everything unhooked so far. */
export const tlb_flush = fn(
  function* tlb_flush(tlb: MmuGather): Steps<void> {
    const [start, end] = tlb.fullmm ? [0, NOTHING] : [tlb.start, tlb.end];
    yield* flush_tlb_mm_range(tlb.mm, start, end, tlb.freed_tables, tlb_get_level(tlb));
  },
  { hidden: true, onBehalf: true },
);

/** Step (2): invalidates translations and walk caches of everything unhooked so far. */
export const tlb_flush_mmu_tlbonly = fn(
  function* tlb_flush_mmu_tlbonly(tlb: MmuGather): Steps<void> {
    if (!tlb.freed_tables && tlb.cleared.length === 0) return;
    yield* tlb_flush(tlb);
    yield* translations_gone(tlb.promised);
    __tlb_reset_range(tlb);
  },
  { onBehalf: true },
);
