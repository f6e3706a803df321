import { fn, leaf } from '../../../../machine/fn.ts';
import type { Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { write_entry } from '../../../../machine/ops/memory.ts';
import type { Kvm, Spte, Sptep } from '../../../virt/kvm/types.ts';
import { pte_list_add } from './pte-list.ts';
import { gfn_to_rmap, sptep_to_gfn } from './shadow-page.ts';
import { make_spte } from './spte.ts';

/**
 * Mapping a page by an empty entry of a shadow page; mmu_lock is held for writing.
 *
 * The entry is stored first and then added to the reverse map: both belong together only for those who take
 * mmu_lock.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (mmu_set_spte, rmap_add).
 */
const __set_spte = leaf(
  function* __set_spte(sptep: Sptep, spte: Spte): Steps<void> {
    yield* write_entry(sptep, spte);
  },
  { address: [0] },
);

export const mmu_set_spte = fn(function* mmu_set_spte(
  kvm: Kvm,
  sptep: Sptep,
  page: Page,
  write: boolean,
): Steps<void> {
  const spte = make_spte(kvm, 0, page, { write, host_writable: true });
  yield* __set_spte(sptep, spte);
  yield* pte_list_add(kvm, gfn_to_rmap(kvm, sptep_to_gfn(kvm, sptep)), sptep);
});
