import { fn, leaf } from '../../../../machine/fn.ts';
import { type Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { write_word } from '../../../../machine/ops/memory.ts';
import { free_frame, markPending } from '../../../../machine/ops/pages.ts';
import { AGAIN, retry } from '../../../../machine/ops/retry.ts';
import { bug_on, page_is_owned } from '../../../../machine/ops/secondary.ts';
import { call_rcu } from '../../../kernel/rcu.ts';
import { sptep_at } from '../../../virt/kvm/boot.ts';
import type { Kvm, Spte, Sptep } from '../../../virt/kvm/types.ts';
import { kvm_flush_remote_tlbs } from '../../../virt/kvm/vcpu.ts';
import {
  frozen_spte,
  is_dirty_spte,
  is_frozen_spte,
  is_last_spte,
  is_shadow_present_pte,
  spte_pfn_bits,
  kvm_tdp_mmu_read_spte,
  kvm_tdp_mmu_write_spte_atomic,
  __kvm_tdp_mmu_write_spte,
  nonpresent_spte,
  spte_has_volatile_bits,
  spte_to_child_pt,
  spte_to_pfn,
  try_cmpxchg64,
} from './spte.ts';
import { gfns_per_entry, type TdpIter } from './tdp_iter.ts';

/**
 * The TDP MMU: changing entries and taking tables away with mmu_lock held for reading.
 *
 * Guarantee: faults run side by side, with each other and with who removes tables; no guest frame is ever
 * mapped twice, no mapping is made in a table that is gone, and no table is freed under a walk.
 * Mechanism: an entry is changed by compare-and-exchange from what the walk has seen. Who takes one away says
 * FROZEN_SPTE first, flushes, and then makes it free: until the flush is over nobody can put another in its
 * place. Of a removed table every entry becomes FROZEN and stays so: the exchange says what was lost, and a
 * walk that is still inside can install nothing. The table itself goes to RCU, and every walk, the one that
 * removes it included, is one RCU read-side section that also covers the flush; so when the grace period is
 * over no walk of the software and none of the hardware leads there.
 * Why FROZEN and not 0: an entry of 0 is free to be mapped while TLBs still hold what it said before.
 * Assumes: whoever holds mmu_lock for writing is alone, but for hardware (A and D bits) and lockless aging.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/tdp_mmu.c (kvm_tdp_mmu_map, tdp_mmu_set_spte_atomic,
 * tdp_mmu_zap_spte_atomic, handle_removed_pt). Lists and statistics of tables are left out.
 */

/** Entries of a table whose guest frames are in a slot; the others are never set. */
export function used_entries(kvm: Kvm, base_gfn: number, level: number): number[] {
  const size = gfns_per_entry(kvm, level);
  const { bits } = kvm.machine.arch.seconds?.[kvm.stage - 1]?.levels[level] ?? { bits: 0 };
  const slots = kvm.memslot_sets.flat();
  return Array.from({ length: 2 ** bits }, (_, at) => base_gfn + at * size).filter((gfn) =>
    slots.some((slot) => slot.base_gfn < gfn + size && gfn < slot.base_gfn + slot.npages),
  );
}

/** A table that nobody else has ever seen, or that nobody can see any more. */
export const tdp_mmu_free_sp = leaf(function* tdp_mmu_free_sp(sp: Page): Steps<void> {
  yield* free_frame(sp);
});

/** The RCU callback of a removed table. */
const tdp_mmu_free_sp_rcu_callback = fn(function* tdp_mmu_free_sp_rcu_callback(
  sp: Page,
): Steps<void> {
  yield* tdp_mmu_free_sp(sp);
});

/** Frees a removed table when every walk that may be in it has ended. */
export const tdp_mmu_free_sp_rcu = fn(function* tdp_mmu_free_sp_rcu(sp: Page): Steps<void> {
  yield* call_rcu(tdp_mmu_free_sp_rcu_callback, [sp], (machine) => markPending(machine, sp));
});

const SetPageDirty = leaf(function* SetPageDirty(kvm: Kvm, page: Page): Steps<void> {
  yield* write_word(kvm.kernel.folio(page).PG_dirty, 1);
});

/** kvm_set_pfn_dirty(): the page was written to. No reference keeps it: it must not be freed before the zap. */
export const tdp_set_pfn_dirty = fn(function* kvm_set_pfn_dirty(kvm: Kvm, page: Page): Steps<void> {
  yield* page_is_owned(page, 'struct page');
  yield* SetPageDirty(kvm, page);
});

/** kvm_tdp_mmu_write_spte(): an exchange if others may be changing bits of it, else a store. */
export const kvm_tdp_mmu_write_spte = fn(
  function* kvm_tdp_mmu_write_spte(
    kvm: Kvm,
    sptep: Sptep,
    old_spte: Spte,
    new_spte: Spte,
    level: number,
  ): Steps<Spte> {
    const leaf_spte = is_shadow_present_pte(kvm, old_spte) && is_last_spte(kvm, old_spte, level);
    if (leaf_spte && spte_has_volatile_bits(kvm, old_spte)) {
      return yield* kvm_tdp_mmu_write_spte_atomic(sptep, new_spte);
    }
    yield* __kvm_tdp_mmu_write_spte(sptep, new_spte);
    return old_spte;
  },
  { hidden: true },
);

/** What there is to do when an entry has changed: the dirty mark is kept, a table that it led to is removed. */
export const handle_changed_spte = fn(function* handle_changed_spte(
  kvm: Kvm,
  gfn: number,
  old_spte: Spte,
  new_spte: Spte,
  level: number,
  shared: boolean,
): Steps<void> {
  const is_present = is_shadow_present_pte(kvm, new_spte);
  const child = spte_to_child_pt(kvm, old_spte, level);
  if (child) {
    const kept = is_present && !is_last_spte(kvm, new_spte, level);
    if (!kept || new_spte.frame !== old_spte.frame) {
      yield* handle_removed_pt(kvm, child, gfn, level - 1, shared);
    }
    return;
  }
  if (!is_shadow_present_pte(kvm, old_spte)) return;
  // BUG(): a guest frame goes from page to page only by way of nothing, and a flush.
  const maps = is_present && is_last_spte(kvm, new_spte, level);
  const moved = maps && spte_pfn_bits(new_spte) !== spte_pfn_bits(old_spte);
  yield* bug_on(moved, `gfn ${gfn}`, `gfn ${gfn} goes from one page to another without a flush.`);
  if (!is_dirty_spte(kvm, old_spte)) return;
  if (is_present && is_dirty_spte(kvm, new_spte)) return;
  yield* tdp_set_pfn_dirty(kvm, spte_to_pfn(kvm, old_spte));
});

/** Takes what the entry says, however often somebody else has it frozen meanwhile. */
export const freeze_removed_spte = fn(
  function* freeze_removed_spte(kvm: Kvm, sptep: Sptep, level: number): Steps<Spte> {
    // A frozen entry will be stored to once more by who froze it.
    return yield* retry(function* () {
      const FROZEN_SPTE = frozen_spte(kvm, level);
      const old_spte = yield* kvm_tdp_mmu_write_spte_atomic(sptep, FROZEN_SPTE);
      if (is_frozen_spte(old_spte)) return AGAIN; // cpu_relax()
      return old_spte;
    });
  },
  { hidden: true },
);

/** Empties a table that has been unlinked, and everything below it, for good; frees it when RCU allows. */
export const handle_removed_pt = fn(function* handle_removed_pt(
  kvm: Kvm,
  pt: Page,
  base_gfn: number,
  level: number,
  shared: boolean,
): Steps<void> {
  const removed = frozen_spte(kvm, level);
  for (const gfn of used_entries(kvm, base_gfn, level)) {
    const sptep = sptep_at(kvm, pt, level, gfn);
    let old_spte: Spte;
    if (shared) {
      old_spte = yield* freeze_removed_spte(kvm, sptep, level);
    } else {
      old_spte = yield* kvm_tdp_mmu_read_spte(sptep);
      if (!is_shadow_present_pte(kvm, old_spte)) continue;
      old_spte = yield* kvm_tdp_mmu_write_spte(kvm, sptep, old_spte, removed, level);
    }
    yield* handle_changed_spte(kvm, gfn, old_spte, removed, level, shared);
  }
  yield* tdp_mmu_free_sp_rcu(pt);
});

/** __tdp_mmu_set_spte_atomic(): false, and the walk knows what is there, if somebody was faster. */
export const __tdp_mmu_set_spte_atomic = fn(
  function* __tdp_mmu_set_spte_atomic(iter: TdpIter, new_spte: Spte): Steps<boolean> {
    if (yield* try_cmpxchg64(iter.sptep, iter.old_spte, new_spte)) return true;
    iter.old_spte = yield* kvm_tdp_mmu_read_spte(iter.sptep); // one instruction with the failed compare
    return false;
  },
  { hidden: true },
);

/** tdp_mmu_set_spte_atomic(): changes an entry with mmu_lock held for reading. */
export const tdp_mmu_set_spte_atomic = fn(function* tdp_mmu_set_spte_atomic(
  kvm: Kvm,
  iter: TdpIter,
  new_spte: Spte,
): Steps<boolean> {
  const { gfn, level, old_spte } = iter;
  if (!(yield* __tdp_mmu_set_spte_atomic(iter, new_spte))) return false;
  yield* handle_changed_spte(kvm, gfn, old_spte, new_spte, level, true);
  return true;
});

/**
 * tdp_mmu_zap_spte_atomic(): makes an entry free with mmu_lock held for reading; when it returns true, no vCPU
 * uses what the entry said.
 */
export const tdp_mmu_zap_spte_atomic = fn(function* tdp_mmu_zap_spte_atomic(
  kvm: Kvm,
  iter: TdpIter,
): Steps<boolean> {
  const { gfn, level, sptep, old_spte } = iter;
  if (!(yield* __tdp_mmu_set_spte_atomic(iter, frozen_spte(kvm, level)))) return false;
  yield* kvm_flush_remote_tlbs(kvm);
  const nonpresent = nonpresent_spte(kvm, level);
  yield* __kvm_tdp_mmu_write_spte(sptep, nonpresent);
  yield* handle_changed_spte(kvm, gfn, old_spte, nonpresent, level, true);
  return true;
});
