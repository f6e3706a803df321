import { fn } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Page, Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import type { SlabObject } from '../../machine/ops/slab.ts';
import { kmem_cache_create, kmem_cache_free, new_object, type KmemCache } from './slab.ts';
import type { Kernel } from './types.ts';

/**
 * Locks of page tables that do not fit their struct page and are allocated by themselves
 * (ALLOC_SPLIT_PTLOCKS: lock debugging, PREEMPT_RT).
 *
 * Guarantee: the lock lives as long as its table. Mechanism: the table's destructor frees it where the table
 * itself is freed, after the grace period. Why that late: who looks for a table without a lock takes a
 * pointer to its lock from the same load of the PMD entry, and locks it when it may be unhooked (M3.14). Lock
 * and table are one thing where the lock is in the struct page, which is never freed.
 *
 * Follows linux v6.12 mm/memory.c (ptlock_alloc, ptlock_free) and, for the place of the destructor, v6.14
 * include/asm-generic/tlb.h (__tlb_remove_table). x86 up to v6.13 ran it in ___pte_free_tlb().
 */
export interface Ptlocks {
  readonly cache: KmemCache<'lock'>;
  /** By the table's frame; none where the lock is in the struct page. */
  readonly of: Map<number, SlabObject<'lock'>>;
}

export function new_ptlocks(): Ptlocks {
  return { cache: kmem_cache_create('page->ptl', ['lock']), of: new Map() };
}

/** A lock of its own for a table that exists when the scenario begins. */
export function ptlock_alloc(machine: Machine, { cache, of }: Ptlocks, table: Page): Word {
  const lock = new_object(machine, cache, `ptl(${machine.memory.info(table.frame).name})`, {});
  of.set(table.frame, lock);
  return lock.lock;
}

export const ptlock_free = fn(function* ptlock_free(kernel: Kernel, table: Page): Steps<void> {
  const { cache, of } = kernel.ptlocks;
  const lock = of.get(table.frame);
  if (lock) yield* kmem_cache_free(cache, lock);
});

/** pagetable_dtor(): what goes with a table when it is freed. */
export const pagetable_dtor = fn(
  function* pagetable_dtor(kernel: Kernel, table: Page): Steps<void> {
    if (kernel.ptlocks.of.has(table.frame)) yield* ptlock_free(kernel, table);
  },
  { hidden: true },
);
