import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import {
  __tlb_remove_page,
  tlb_delay_rmap,
  tlb_flush_mmu_tlbonly,
  tlb_flush_rmaps,
  tlb_found_cleared,
  tlb_remove_tlb_entry,
  type MmuGather,
} from './mmu_gather-range.ts';
import { pte_free_tlb, tlb_flush_mmu } from './mmu_gather.ts';
import { folio_mark_dirty, folio_test_anon } from './page-writeback.ts';
import { pte_offset_map_lock, pte_unmap_unlock } from './pgtable-generic.ts';
import {
  pmd_clear,
  pmd_leaf,
  pmd_none,
  pmdp_get,
  pte_none,
  pte_page,
  ptep_get,
  ptep_get_and_clear,
} from './pgtable.ts';
import { zap_huge_pmd } from './huge_memory.ts';
import { PAGE_SIZE, sourceOf } from './layout.ts';
import { try_get_and_clear_pmd, try_to_free_pte } from './pt_reclaim.ts';
import { folio_remove_rmap_pte, mm_find_pmd, unlink_vma } from './rmap.ts';
import { flush_tlb_batched_pending } from './tlb-batched.ts';
import type { Pmd, Pmdp, Ptep } from './types.ts';

/**
 * Removing mappings and then the tables that held them.
 *
 * Guarantee: an entry is cleared under its table's lock before the page it mapped is queued; a table is
 * unhooked from its parent before it is queued. Neither is given back here: see mmu_gather.ts.
 *
 * free_pgd_range() takes no page-table lock: everybody who would take one is excluded by the caller having
 * hidden the mapping (mmap_lock for writing, removed from the reverse mapping first). Walkers without any
 * lock remain, and the order in mmu_gather.ts is for them.
 *
 * Follows linux v6.12 mm/memory.c (zap_pte_range, free_pgtables, free_pgd_range).
 */

/** The entries for [addr, end) that can map something, with the table that `first`, the one for `addr`, is in. */
function entries(tlb: MmuGather, first: Ptep, addr: number, end: number): [number, Ptep][] {
  const inRange = tlb.mm.mapped.filter((at) => at >= addr && at < end).sort((a, b) => a - b);
  return inRange.map((at) => [at, { ...first, index: first.index + (at - addr) / PAGE_SIZE }]);
}

/** What became of one mapping. */
interface Zapped {
  /** What was collected must be flushed before the page-table lock is dropped. */
  readonly force_flush: boolean;
  /** The batch of pages is full. */
  readonly full: boolean;
}

export const zap_present_pte = fn(
  function* zap_present_pte(tlb: MmuGather, ptep: Ptep, addr: number): Steps<Zapped> {
    const pte = yield* ptep_get_and_clear(ptep);
    const page = pte_page(pte);
    tlb_remove_tlb_entry(tlb, { source: sourceOf(ptep), bits: pte.bits }, addr, PAGE_SIZE, 0);
    let delay_rmap = false;
    if (pte.dirty === true && !(yield* folio_test_anon(tlb.mm, page))) {
      yield* folio_mark_dirty(tlb.mm, page);
      delay_rmap = yield* tlb_delay_rmap(tlb);
    }
    if (!delay_rmap) yield* folio_remove_rmap_pte(tlb.mm, page);
    const full = __tlb_remove_page(tlb, page, delay_rmap);
    return { force_flush: delay_rmap || full, full };
  },
  { hidden: true },
);

/** struct zap_details: may tables that become empty be freed? */
export interface ZapDetails {
  readonly reclaim_pt: boolean;
}

/** Clears the entries of [addr, end) in one page table; false if there is none. */
export const zap_pte_range = fn(function* zap_pte_range(
  tlb: MmuGather,
  pmdp: Pmdp,
  addr: number,
  end: number,
  details?: ZapDetails,
): Steps<boolean> {
  const can_reclaim_pt = details?.reclaim_pt === true && end - addr >= tableSize(tlb);
  let pmdval: Pmd | null = null;
  for (let at = addr; at < end;) {
    const locked = yield* pte_offset_map_lock(tlb.mm, pmdp, at);
    if (!locked) return false;
    yield* flush_tlb_batched_pending(tlb.mm);
    let force_flush = false;
    let next = end;
    for (const [place, ptep] of entries(tlb, locked.ptep, at, end)) {
      if (pte_none(yield* ptep_get(ptep))) {
        yield* tlb_found_cleared(tlb, sourceOf(ptep));
        continue;
      }
      const zapped = yield* zap_present_pte(tlb, ptep, place);
      force_flush ||= zapped.force_flush;
      if (!zapped.full) continue;
      next = place + PAGE_SIZE;
      break;
    }
    if (can_reclaim_pt && next === end) pmdval = yield* try_get_and_clear_pmd(tlb.mm, pmdp);
    if (force_flush) {
      yield* tlb_flush_mmu_tlbonly(tlb);
      yield* tlb_flush_rmaps(tlb);
    }
    yield* pte_unmap_unlock(locked.ptl);
    if (force_flush) yield* tlb_flush_mmu(tlb);
    at = next;
  }
  if (!can_reclaim_pt) return true;
  pmdval ??= yield* try_to_free_pte(tlb.mm, pmdp, addr, (first) =>
    entries(tlb, first, addr, end).map(([, ptep]) => ptep),
  );
  if (!pmdval) return true;
  const entry = { source: sourceOf(pmdp), bits: pmdval.bits };
  yield* pte_free_tlb(tlb, pte_page(pmdval), entry, addr, tableSize(tlb));
  return true;
});

/** How much one page table covers. */
function tableSize(tlb: MmuGather): number {
  return 2 ** (tlb.mm.kernel.arch.levels[1]?.shift ?? 0);
}

/** unmap_vmas(): zaps [start, end), table by table. */
export const unmap_vmas = fn(function* unmap_vmas(
  tlb: MmuGather,
  start: number,
  end: number,
  details?: ZapDetails,
): Steps<void> {
  const size = tableSize(tlb);
  for (let addr = start; addr < end; addr = (Math.floor(addr / size) + 1) * size) {
    const next = Math.min(end, (Math.floor(addr / size) + 1) * size);
    const pmdp = yield* mm_find_pmd(tlb.mm, addr);
    if (pmdp && !(yield* zap_pte_range(tlb, pmdp, addr, next, details))) {
      yield* zap_huge_pmd(tlb, pmdp, addr); // of a part of it the kernel splits it first
    }
  }
});

/**
 * free_pgtables(): hides the VMAs from the reverse mapping, then unhooks and queues the page tables of which
 * nothing but [start, end) was mapped. The
 * floor and ceiling of the kernel's function come from the neighbouring VMAs; here the address space knows
 * what it maps (`mm.mapped`). Upper tables stay: an address space is never unmapped whole.
 */
export const free_pgtables = fn(function* free_pgtables(
  tlb: MmuGather,
  start: number,
  end: number,
): Steps<void> {
  yield* unlink_vmas(tlb, start, end);
  const size = tableSize(tlb);
  const first = Math.floor(start / size) * size;
  for (let base = first; base < end; base += size) {
    const isNeighbour = (addr: number): boolean =>
      addr >= base && addr < base + size && (addr < start || addr >= end);
    if (!tlb.mm.mapped.some(isNeighbour)) yield* free_pte_range(tlb, base, size);
  }
});

/**
 * Hides what is unmapped from the reverse mapping, whose walkers take page-table locks: before any table goes.
 * A VMA of which a part stays mapped stays linked; its tables are not freed here.
 */
export const unlink_vmas = fn(
  function* unlink_vmas(tlb: MmuGather, start: number, end: number): Steps<void> {
    for (const vma of tlb.mm.vmas) {
      if (vma.start >= start && vma.end <= end) yield* unlink_vma(vma);
    }
  },
  { hidden: true, protects: { what: 'unlink_vma()' } },
);

const free_pte_range = fn(function* free_pte_range(
  tlb: MmuGather,
  base: number,
  size: number,
): Steps<void> {
  const pmdp = yield* mm_find_pmd(tlb.mm, base);
  if (!pmdp) return;
  const pmd = yield* pmdp_get(pmdp);
  if (pmd_none(pmd) || pmd_leaf(pmd)) return;
  yield* pmd_clear(pmdp);
  const entry = { source: sourceOf(pmdp), bits: pmd.bits };
  yield* pte_free_tlb(tlb, pte_page(pmd), entry, base, size);
});
