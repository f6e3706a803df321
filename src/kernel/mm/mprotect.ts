import type { LeafPermissions } from '../../machine/arch.ts';
import { fn, leaf } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, up_write } from '../../machine/ops/locks.ts';
import { xchg_entry } from '../../machine/ops/memory.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { tlb_found_cleared, tlb_remove_tlb_entry } from './mmu_gather-range.ts';
import { tlb_finish_mmu, tlb_gather_mmu } from './mmu_gather.ts';
import { pte_offset_map_lock, pte_unmap_unlock } from './pgtable-generic.ts';
import { NONE } from './pgtable-access.ts';
import { ptep_get, set_pte_at } from './pgtable.ts';
import { PAGE_SIZE, sourceOf } from './layout.ts';
import { flush_tlb_batched_pending } from './tlb-batched.ts';
import type { Mm, Pmdp, Pte, Ptep } from './types.ts';

/**
 * mprotect(2) of a page.
 *
 * Guarantee: when it returns, no CPU has permissions that were taken away, and no accessed or dirty bit was
 * lost. Mechanism: the entry is exchanged for none, so that hardware cannot set a bit in between; the new one
 * is stored; the flush comes when the page-table lock has been dropped.
 * An entry that is empty already has nothing to flush: reclaim, which may have put off its flush, has said so
 * (tlb-batched.ts).
 * What it is NOT: a flush between the two. For a lockless reader the entry goes from present to none to
 * present with nothing that waits for him (M2.7).
 *
 * Follows linux v6.12 mm/mprotect.c (change_pte_range) and include/linux/pgtable.h.
 */

/** pte_modify(): the same page with other permissions; what hardware has set stays. */
function pte_modify(mm: Mm, pte: Pte, from: LeafPermissions, to: LeafPermissions): Pte {
  const { arch } = mm.kernel;
  const bits = pte.bits ^ arch.leaf(0, pte.frame, from) ^ arch.leaf(0, pte.frame, to);
  return Object.freeze({ bits, generation: pte.generation, ...arch.decode(0, bits) });
}

/** Takes an entry away for as long as it is modified. */
export const ptep_modify_prot_start = leaf(function* ptep_modify_prot_start(
  ptep: Ptep,
): Steps<Pte> {
  return yield* xchg_entry(ptep, NONE);
});

export const ptep_modify_prot_commit = leaf(function* ptep_modify_prot_commit(
  ptep: Ptep,
  pte: Pte,
): Steps<void> {
  yield* set_pte_at(ptep, pte);
});

/** Changes the permissions of the page at `addr`, which its VMA has `from`. */
export const mprotect = fn(function* mprotect(
  mm: Mm,
  pmdp: Pmdp,
  addr: number,
  from: LeafPermissions,
  to: LeafPermissions,
): Steps<void> {
  yield* down_write(mm.mmap_lock);
  const tlb = yield* tlb_gather_mmu(mm);
  const range = yield* invalidation_begins(mm, addr, addr + PAGE_SIZE); // change_pmd_range()
  const locked = yield* pte_offset_map_lock(mm, pmdp, addr);
  if (locked) {
    const { ptep, ptl } = locked;
    yield* flush_tlb_batched_pending(mm);
    if ((yield* ptep_get(ptep)).present) {
      const oldpte = yield* ptep_modify_prot_start(ptep);
      yield* ptep_modify_prot_commit(ptep, pte_modify(mm, oldpte, from, to));
      tlb_remove_tlb_entry(tlb, { source: sourceOf(ptep), bits: oldpte.bits }, addr, PAGE_SIZE, 0);
    } else {
      yield* tlb_found_cleared(tlb, sourceOf(ptep));
    }
    yield* pte_unmap_unlock(ptl);
  }
  yield* invalidation_ends(range);
  yield* tlb_finish_mmu(tlb);
  yield* up_write(mm.mmap_lock);
});
