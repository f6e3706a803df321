import { fn } from '../../../../machine/fn.ts';
import type { Steps } from '../../../../machine/op.ts';
import type { Kvm, Sptep } from '../../../virt/kvm/types.ts';
import { mmu_spte_get, mmu_spte_update } from './mmu-spte.ts';
import { rmap_sptes } from './pte-list.ts';
import { kvm_rmap_get } from './rmap.ts';
import { gfn_to_rmap } from './shadow-page.ts';
import { is_mmu_writable_spte, is_writable_pte } from './spte.ts';
import { write_protected } from './spte-writable.ts';

/**
 * Write protection of a guest's page; mmu_lock is held for writing.
 *
 * For the log of dirty pages the entry stays MMU-writable: the next store may make it writable again without a
 * lock. A page of the guest's own page tables, of which there is a shadow, loses that mark too: every store to it
 * must come to KVM.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (spte_write_protect, rmap_write_protect).
 */
const spte_write_protect = fn(function* spte_write_protect(
  kvm: Kvm,
  sptep: Sptep,
  pt_protect: boolean,
): Steps<boolean> {
  const spte = yield* mmu_spte_get(sptep);
  const may_become = pt_protect && is_mmu_writable_spte(kvm, spte);
  if (!is_writable_pte(kvm, spte) && !may_become) return false;
  return yield* mmu_spte_update(kvm, sptep, write_protected(kvm, spte, 0, pt_protect));
});

/** rmap_write_protect(): of all entries that map the guest frame. True: translations must be flushed. */
export const rmap_write_protect = fn(function* rmap_write_protect(
  kvm: Kvm,
  gfn: number,
  pt_protect: boolean,
): Steps<boolean> {
  const rmap_head = gfn_to_rmap(kvm, gfn);
  let flush = false;
  const val = yield* kvm_rmap_get(rmap_head.val);
  for (const sptep of yield* rmap_sptes(kvm, rmap_head, val)) {
    flush = (yield* spte_write_protect(kvm, sptep, pt_protect)) || flush;
  }
  return flush;
});

/** kvm_mmu_write_protect_pt_masked(): for the log of dirty pages, which flushes in any case. */
export const kvm_mmu_write_protect_pt_masked = fn(function* kvm_mmu_write_protect_pt_masked(
  kvm: Kvm,
  gfn: number,
): Steps<void> {
  yield* rmap_write_protect(kvm, gfn, false);
});
