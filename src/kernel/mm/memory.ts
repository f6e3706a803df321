import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import {
  pte_free_tlb,
  tlb_remove_page,
  tlb_remove_tlb_entry,
  type MmuGather,
} from './mmu_gather.ts';
import { pte_offset_map_lock, pte_unmap_unlock } from './pgtable-generic.ts';
import {
  offset_lockless,
  p4dp_get,
  pgd_offset,
  pgdp_get,
  pmd_clear,
  pmd_leaf,
  pmd_none,
  pmdp_get,
  pte_none,
  pte_page,
  ptep_get,
  ptep_get_and_clear,
  pudp_get,
} from './pgtable.ts';
import { zap_huge_pmd } from './huge_memory.ts';
import { PAGE_SIZE } from './layout.ts';
import type { Pmdp } from './types.ts';

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
 * Follows linux v6.12 mm/memory.c (zap_pte_range, free_pgd_range).
 */

function sourceOf(p: { frame: number; index: number }): number {
  return p.frame * PAGE_SIZE + p.index * 8;
}

/** The entry of the PMD level for `addr`, or null if there is no such table. */
const find_pmd = fn(function* find_pmd(tlb: MmuGather, addr: number): Steps<Pmdp | null> {
  const { mm } = tlb;
  const pgd = yield* pgdp_get(pgd_offset(mm, addr));
  if (!pgd.table) return null;
  const p4d = yield* p4dp_get(offset_lockless(mm, pgd, 3, addr));
  if (!p4d.table) return null;
  const pud = yield* pudp_get(offset_lockless(mm, p4d, 2, addr));
  if (!pud.table) return null;
  return offset_lockless(mm, pud, 1, addr);
});

/** Clears the entries of [addr, end) in one page table; false if there is none. */
export const zap_pte_range = fn(function* zap_pte_range(
  tlb: MmuGather,
  pmdp: Pmdp,
  addr: number,
  end: number,
): Steps<boolean> {
  const locked = yield* pte_offset_map_lock(tlb.mm, pmdp, addr);
  if (!locked) return false;
  const first = locked.ptep;
  for (let at = addr; at < end; at += PAGE_SIZE) {
    const ptep = { ...first, index: first.index + (at - addr) / PAGE_SIZE };
    if (pte_none(yield* ptep_get(ptep))) continue;
    const pte = yield* ptep_get_and_clear(ptep);
    tlb_remove_tlb_entry(tlb, { source: sourceOf(ptep), bits: pte.bits }, at, PAGE_SIZE);
    tlb_remove_page(tlb, pte_page(pte));
  }
  yield* pte_unmap_unlock(locked.ptl);
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
): Steps<void> {
  const size = tableSize(tlb);
  for (let addr = start; addr < end; addr = (Math.floor(addr / size) + 1) * size) {
    const next = Math.min(end, (Math.floor(addr / size) + 1) * size);
    const pmdp = yield* find_pmd(tlb, addr);
    if (pmdp && !(yield* zap_pte_range(tlb, pmdp, addr, next))) {
      yield* zap_huge_pmd(tlb, pmdp, addr); // of a part of it the kernel splits it first
    }
  }
});

/**
 * free_pgtables(): unhooks and queues the page tables of which nothing but [start, end) was mapped. The
 * floor and ceiling of the kernel's function come from the neighbouring VMAs; here the address space knows
 * what it maps (`mm.mapped`). Upper tables stay: an address space is never unmapped whole.
 */
export const free_pgtables = fn(function* free_pgtables(
  tlb: MmuGather,
  start: number,
  end: number,
): Steps<void> {
  const size = tableSize(tlb);
  const first = Math.floor(start / size) * size;
  for (let base = first; base < end; base += size) {
    const isNeighbour = (addr: number): boolean =>
      addr >= base && addr < base + size && (addr < start || addr >= end);
    if (!tlb.mm.mapped.some(isNeighbour)) yield* free_pte_range(tlb, base, size);
  }
});

const free_pte_range = fn(function* free_pte_range(
  tlb: MmuGather,
  base: number,
  size: number,
): Steps<void> {
  const pmdp = yield* find_pmd(tlb, base);
  if (!pmdp) return;
  const pmd = yield* pmdp_get(pmdp);
  if (pmd_none(pmd) || pmd_leaf(pmd)) return;
  yield* pmd_clear(pmdp);
  const entry = { source: sourceOf(pmdp), bits: pmd.bits };
  yield* pte_free_tlb(tlb, pte_page(pmd), entry, base, size);
});
