import { fn, leaf } from '../../../../machine/fn.ts';
import type { Steps } from '../../../../machine/op.ts';
import { read_entry, write_entry } from '../../../../machine/ops/memory.ts';
import { free_frame } from '../../../../machine/ops/pages.ts';
import { STAGE } from '../../../../machine/stages.ts';
import type { Kvm, Sptep } from '../../../virt/kvm/types.ts';
import { kvm_flush_remote_tlbs } from '../../../virt/kvm/vcpu.ts';
import { mmu_spte_clear_track_bits } from './mmu-spte.ts';
import { pte_list_remove, rmap_sptes } from './pte-list.ts';
import { kvm_rmap_get } from './rmap.ts';
import { gfn_to_rmap, shadow_mmu, sptep_to_gfn, type ShadowPage } from './shadow-page.ts';
import { is_shadow_present_pte, nonpresent_spte } from './spte.ts';

/**
 * Taking entries and shadow pages away; mmu_lock is held for writing.
 *
 * Guarantee: a shadow page is freed when nobody can be in it. Mechanism: kvm_mmu_prepare_zap_page() clears its
 * entries, takes them off the reverse maps, and unlinks it; kvm_mmu_commit_zap_page() flushes all vCPUs, then
 * frees. The flush drops what hardware has cached of the page, and waits for walks without the lock (mmu-walk.ts);
 * aging without the lock has the lock of a reverse map, where the page cannot be taken off meanwhile.
 * Assumes: one flush for several pages, after all of them are unlinked. mmu_lock for writing: two who take the
 * same page away would free it twice.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c.
 */

/** rmap_remove(): the entry, cleared already, maps the guest frame no more. */
const rmap_remove = fn(function* rmap_remove(kvm: Kvm, sptep: Sptep): Steps<void> {
  yield* pte_list_remove(kvm, gfn_to_rmap(kvm, sptep_to_gfn(kvm, sptep)), sptep);
});

/** drop_spte(): clears an entry, and then takes it off the reverse map. True: it mapped something. */
export const drop_spte = fn(function* drop_spte(kvm: Kvm, sptep: Sptep): Steps<boolean> {
  const old = yield* mmu_spte_clear_track_bits(kvm, sptep);
  if (!is_shadow_present_pte(kvm, old)) return false;
  yield* rmap_remove(kvm, sptep);
  return true;
});

/** kvm_zap_all_rmap_sptes(): drops all entries that map a guest frame. True: translations must be flushed. */
export const kvm_zap_all_rmap_sptes = fn(function* kvm_zap_all_rmap_sptes(
  kvm: Kvm,
  gfn: number,
): Steps<boolean> {
  const rmap_head = gfn_to_rmap(kvm, gfn);
  const val = yield* kvm_rmap_get(rmap_head.val);
  let flush = false;
  for (const sptep of yield* rmap_sptes(kvm, rmap_head, val)) {
    flush = (yield* drop_spte(kvm, sptep)) || flush;
  }
  return flush;
});

/** kvm_unmap_gfn_range(): drops what maps [start, end). True: translations must be flushed. */
export const kvm_unmap_gfn_range = fn(function* kvm_unmap_gfn_range(
  kvm: Kvm,
  start: number,
  end: number,
): Steps<boolean> {
  let flush = false;
  for (let gfn = start; gfn < end; gfn++) {
    flush = (yield* kvm_zap_all_rmap_sptes(kvm, gfn)) || flush;
  }
  return flush;
});

const kvm_mmu_page_unlink_children = fn(function* kvm_mmu_page_unlink_children(
  kvm: Kvm,
  { spt, gfns }: ShadowPage,
): Steps<void> {
  for (const index of gfns.keys()) {
    yield* drop_spte(kvm, { ...spt, index, level: kvm.stage * STAGE });
  }
});

/** drop_parent_pte(): no walk finds the page from here on. */
const drop_parent_pte = leaf(function* drop_parent_pte(kvm: Kvm, parent: Sptep): Steps<void> {
  yield* write_entry(parent, nonpresent_spte(kvm, kvm.root_level));
});

/** list_move() of the page from the list of active ones to those that are freed. */
const list_del = leaf(function* list_del(kvm: Kvm): Steps<void> {
  yield* write_entry(shadow_mmu(kvm).active_mmu_pages, kvm.machine.memory.entry(0n, 0));
});

/** kvm_mmu_prepare_zap_page(): empties and unlinks a shadow page, which must be freed after a flush. */
export const kvm_mmu_prepare_zap_page = fn(function* kvm_mmu_prepare_zap_page(
  kvm: Kvm,
  sp: ShadowPage,
): Steps<void> {
  yield* kvm_mmu_page_unlink_children(kvm, sp);
  yield* drop_parent_pte(kvm, sp.parent);
  yield* list_del(kvm);
});

/** kvm_mmu_free_shadow_page(). */
const kvm_mmu_free_shadow_page = leaf(function* kvm_mmu_free_shadow_page({
  spt,
}: ShadowPage): Steps<void> {
  yield* free_frame(spt);
});

/** kvm_mmu_commit_zap_page(): frees the shadow pages that have been prepared. */
export const kvm_mmu_commit_zap_page = fn(function* kvm_mmu_commit_zap_page(
  kvm: Kvm,
  invalid_list: readonly ShadowPage[],
): Steps<void> {
  if (invalid_list.length === 0) return;
  yield* kvm_flush_remote_tlbs(kvm);
  for (const sp of invalid_list) yield* kvm_mmu_free_shadow_page(sp);
});

/** The oldest active shadow page: list_for_each_entry_reverse(). */
export const oldest_mmu_page = leaf(function* oldest_mmu_page(kvm: Kvm): Steps<ShadowPage | null> {
  const { active_mmu_pages, pages } = shadow_mmu(kvm);
  const { bits } = yield* read_entry(active_mmu_pages);
  return pages.get(Number(bits) / 4096) ?? null;
});

/** make_mmu_pages_available(): takes a shadow page back, if there is one. mmu_lock must be held for writing. */
export const make_mmu_pages_available = fn(function* make_mmu_pages_available(
  kvm: Kvm,
): Steps<void> {
  const sp = yield* oldest_mmu_page(kvm);
  if (!sp) return;
  yield* kvm_mmu_prepare_zap_page(kvm, sp);
  yield* kvm_mmu_commit_zap_page(kvm, [sp]);
});
