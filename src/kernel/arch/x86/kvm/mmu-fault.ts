import { fn, leaf } from '../../../../machine/fn.ts';
import type { Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { write_entry } from '../../../../machine/ops/memory.ts';
import { allocate_frame } from '../../../../machine/ops/pages.ts';
import { STAGE } from '../../../../machine/stages.ts';
import { sptep_at } from '../../../virt/kvm/boot.ts';
import { mark_page_dirty_in_slot } from '../../../virt/kvm/dirty_log.ts';
import { direct_page_fault } from '../../../virt/kvm/fault.ts';
import type {
  FaultinPage,
  Kvm,
  KvmMmuOps,
  PageFault,
  RetPf,
  Sptep,
  Vcpu,
} from '../../../virt/kvm/types.ts';
import { mmu_set_spte } from './mmu-map.ts';
import { mmu_spte_get } from './mmu-spte.ts';
import { shadow_mmu_ops } from './shadow-ops.ts';
import { is_shadow_present_pte, make_nonleaf_spte, spte_to_child_pt } from './spte.ts';

/**
 * Faults that the shadow MMU serves with mmu_lock.
 *
 * Guarantee: a guest frame is mapped once in each place of the tree, and each shadow page is linked where it was
 * made for. Mechanism: mmu_lock is held for writing from the first look at the tree to the last store: what was
 * read is what is replaced. Nothing here compares and exchanges; with mmu_lock for reading, as the TDP MMU
 * takes it, two faults would link two shadow pages to one entry.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (direct_map, kvm_mmu_get_child_sp, link_shadow_page). The places of
 * a new shadow page are those of the first 512 guest frames.
 */
const kvm_mmu_alloc_shadow_page = leaf(function* kvm_mmu_alloc_shadow_page(
  kvm: Kvm,
  level: number,
): Steps<Page> {
  return yield* allocate_frame({ what: 'sp', level: kvm.stage * STAGE + level, recycle: true });
});

const link_shadow_page = leaf(
  function* link_shadow_page(kvm: Kvm, sptep: Sptep, level: number, sp: Page): Steps<void> {
    yield* write_entry(sptep, make_nonleaf_spte(kvm, level, sp));
  },
  { address: [1] },
);

/** direct_map(): maps what the fault has found. */
export const direct_map = fn(function* direct_map(
  { kvm }: Vcpu,
  { gfn, write }: PageFault,
  { page, slot }: FaultinPage,
): Steps<RetPf> {
  let table = kvm.root;
  for (let level = kvm.root_level; level > 0; level--) {
    const sptep = sptep_at(kvm, table, level, gfn);
    const child = spte_to_child_pt(kvm, yield* mmu_spte_get(sptep), level);
    table = child ?? (yield* kvm_mmu_alloc_shadow_page(kvm, level - 1));
    if (!child) yield* link_shadow_page(kvm, sptep, level, table);
  }
  const sptep = sptep_at(kvm, table, 0, gfn);
  if (is_shadow_present_pte(kvm, yield* mmu_spte_get(sptep))) return 'RET_PF_SPURIOUS';
  if (write) yield* mark_page_dirty_in_slot(kvm, slot, gfn);
  yield* mmu_set_spte(kvm, sptep, page, write);
  return 'RET_PF_FIXED';
});

/** The shadow MMU behind virt/kvm: fast page faults, and others with mmu_lock. */
export const shadow_mmu_for_host: KvmMmuOps = shadow_mmu_ops((vcpu, fault) =>
  direct_page_fault(vcpu, fault, direct_map),
);
