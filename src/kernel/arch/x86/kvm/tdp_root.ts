import { fn, leaf } from '../../../../machine/fn.ts';
import type { Page, Word } from '../../../../machine/memory.ts';
import { ALLOCATED, makeLife } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { read_lock, read_unlock, write_lock, write_unlock } from '../../../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, fetch_add, write_word } from '../../../../machine/ops/memory.ts';
import { local_irq_restore, local_irq_save } from '../../../../machine/ops/processor.ts';
import { smp_mb } from '../../../../machine/ops/store-buffer.ts';
import { rcu_read_lock, rcu_read_unlock } from '../../../kernel/rcu.ts';
import { smp_call_function_many } from '../../../kernel/smp.ts';
import type { Kvm, Vcpu } from '../../../virt/kvm/types.ts';
import {
  IN_GUEST_MODE,
  KVM_REQ_MMU_FREE_OBSOLETE_ROOTS,
  OUTSIDE_GUEST_MODE,
  ack_kick,
  kvm_make_request,
  kvm_test_request,
  kvm_vcpu_exiting_guest_mode,
} from '../../../virt/kvm/vcpu.ts';
import { kvm_x86_vcpu_run } from './guest-stay.ts';
import { is_shadow_present_pte, nonpresent_spte } from './spte.ts';
import { tdp_iter_next, tdp_iter_start } from './tdp_iter.ts';
import { tdp_mmu_free_sp_rcu, tdp_mmu_set_spte_atomic } from './tdp_mmu.ts';
import { tdp_mmu_zap_leafs } from './tdp_mmu_zap.ts';

/**
 * Roots of the TDP MMU, and giving all of a guest's mappings up at once.
 *
 * Guarantee: kvm_mmu_zap_all_fast() drops every mapping, and however long that takes faults go on meanwhile, in
 * a new root. Mechanism: the root becomes invalid under mmu_lock, and before the lock is dropped every vCPU is
 * told to load another and has left the guest. Then its entries are zapped with mmu_lock held for reading, and
 * no TLB is flushed: nobody translates by that root any more, and who loads it, or one in its place, flushes.
 * Why notifiers walk invalid roots too: until an entry is zapped it maps a page, whose dirty mark goes to
 * struct page when it is; the page must not be freed before. So a root stays on the list until it is empty.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (kvm_mmu_zap_all_fast, kvm_mmu_free_obsolete_roots) and tdp_mmu.c
 * (kvm_tdp_mmu_invalidate_roots, kvm_tdp_mmu_zap_invalidated_roots, tdp_mmu_zap_root), for two roots: the one
 * that is given up and the next.
 */
export interface TdpRoots {
  readonly kvm: Kvm;
  /** kvm->root, and what vCPUs load when it is invalid. */
  readonly next: Page;
  /** root->role.invalid. */
  readonly invalid: Word;
  /** root->tdp_mmu_root_count: KVM's own reference, and those of vCPUs that are to drop theirs in the scenario. */
  readonly tdp_mmu_root_count: Word;
  /** Is the invalid root on kvm->arch.tdp_mmu_roots? */
  readonly listed: Word;
}

/** A virtual machine's root, which is valid, and another that is empty. Not a step. */
export function new_tdp_roots(kvm: Kvm, held_by_vcpus = 0): TdpRoots {
  const { machine } = kvm;
  const { cells, memory } = machine;
  const info = memory.frame('next root');
  cells.values[info.life] = makeLife(1, ALLOCATED);
  cells.values[info.level] = machine.levelOf(kvm.root.frame);
  cells.values[info.refcount.cell] = 1;
  const roots = machine.objects.get('roots') as number[];
  machine.objects.set('roots', [...roots, info.index]);
  return Object.freeze({
    kvm,
    next: memory.page(info.index, 1),
    invalid: kvm.root_role_invalid,
    tdp_mmu_root_count: memory.variable('root->tdp_mmu_root_count', 1 + held_by_vcpus),
    listed: memory.variable('root is on tdp_mmu_roots', 1),
  });
}

/** kvm_tdp_mmu_invalidate_roots(): mmu_lock is held for writing. */
export const kvm_tdp_mmu_invalidate_roots = leaf(function* kvm_tdp_mmu_invalidate_roots(
  roots: TdpRoots,
): Steps<void> {
  yield* write_word(roots.invalid, 1);
});

/** Tells every vCPU to load another root, and waits until none is in the guest with this one. */
export const kvm_request_free_obsolete_roots = fn(function* kvm_make_all_cpus_request({
  kvm,
}: TdpRoots): Steps<void> {
  const kicked: number[] = [];
  for (const vcpu of kvm.vcpus) {
    yield* kvm_make_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu);
    const mode = yield* kvm_vcpu_exiting_guest_mode(vcpu);
    if (mode !== OUTSIDE_GUEST_MODE) kicked.push(vcpu.cpu);
  }
  yield* smp_call_function_many(kicked, ack_kick);
});

/** tdp_mmu_zap_root(): takes every table of the root away, one by one, with mmu_lock held for reading. */
export const tdp_mmu_zap_root = fn(function* tdp_mmu_zap_root({ kvm }: TdpRoots): Steps<void> {
  yield* rcu_read_lock();
  const iter = yield* tdp_iter_start(kvm, kvm.root, 0, 1, kvm.root_level);
  for (; iter.valid; yield* tdp_iter_next(iter)) {
    const nonpresent = nonpresent_spte(kvm, iter.level);
    while (
      is_shadow_present_pte(kvm, iter.old_spte) &&
      !(yield* tdp_mmu_set_spte_atomic(kvm, iter, nonpresent))
    );
  }
  yield* rcu_read_unlock();
});

/** kvm_tdp_mmu_put_root(): with the last reference the root leaves the list and is freed after a grace period. */
export const kvm_tdp_mmu_put_root = fn(function* kvm_tdp_mmu_put_root({
  kvm,
  listed,
  tdp_mmu_root_count,
}: TdpRoots): Steps<void> {
  if ((yield* fetch_add(tdp_mmu_root_count, -1)) !== 1) return;
  yield* WRITE_ONCE(listed, 0); // list_del_rcu()
  yield* tdp_mmu_free_sp_rcu(kvm.root);
});

/** kvm_mmu_free_obsolete_roots(), of a vCPU that has a reference on the root: it will load another. */
export const kvm_mmu_free_obsolete_roots = fn(function* kvm_mmu_free_obsolete_roots(
  roots: TdpRoots,
): Steps<void> {
  if ((yield* READ_ONCE(roots.invalid)) === 1) yield* kvm_tdp_mmu_put_root(roots);
});

/** kvm_tdp_mmu_zap_invalidated_roots(). */
export const kvm_tdp_mmu_zap_invalidated_roots = fn(function* kvm_tdp_mmu_zap_invalidated_roots(
  roots: TdpRoots,
): Steps<void> {
  yield* read_lock(roots.kvm.mmu_lock);
  yield* tdp_mmu_zap_root(roots);
  yield* kvm_tdp_mmu_put_root(roots);
  yield* read_unlock(roots.kvm.mmu_lock);
});

/** kvm_mmu_zap_all_fast(). */
export const kvm_mmu_zap_all_fast = fn(function* kvm_mmu_zap_all_fast(
  roots: TdpRoots,
): Steps<void> {
  yield* write_lock(roots.kvm.mmu_lock);
  yield* kvm_tdp_mmu_invalidate_roots(roots);
  yield* kvm_request_free_obsolete_roots(roots);
  yield* write_unlock(roots.kvm.mmu_lock);
  yield* kvm_tdp_mmu_zap_invalidated_roots(roots);
});

/** Must a notifier walk the root? Invalid ones too, as long as they are on the list. */
export const is_root_for_notifiers = fn(
  function* is_root_for_notifiers({ listed }: TdpRoots): Steps<boolean> {
    return (yield* READ_ONCE(listed)) === 1;
  },
  { hidden: true },
);

/** kvm_tdp_mmu_unmap_gfn_range() for all roots. mmu_lock is held for writing. */
export const kvm_tdp_mmu_unmap_all_roots = fn(function* kvm_tdp_mmu_unmap_gfn_range(
  roots: TdpRoots,
  start: number,
  end: number,
): Steps<boolean> {
  const { kvm, next } = roots;
  let flush = false;
  if (yield* is_root_for_notifiers(roots)) {
    const zapped = yield* tdp_mmu_zap_leafs(kvm, kvm.root, start, end, false);
    flush = zapped && (yield* READ_ONCE(roots.invalid)) === 0; // an invalid root needs no flush
  }
  return (yield* tdp_mmu_zap_leafs(kvm, next, start, end, false)) || flush;
});

/** vcpu_enter_guest(), of a vCPU that was in the guest before by the first root. */
export const vcpu_enter_guest_by_root = fn(function* vcpu_enter_guest(
  roots: TdpRoots,
  at: number,
): Steps<boolean> {
  const vcpu = roots.kvm.vcpus[at] as Vcpu;
  // kvm_mmu_free_obsolete_roots(), kvm_mmu_reload()
  let { root } = roots.kvm;
  if (yield* kvm_test_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu)) root = roots.next;
  const flags = yield* local_irq_save();
  yield* WRITE_ONCE(vcpu.mode, IN_GUEST_MODE);
  yield* smp_mb();
  let used = false;
  if (root === roots.next || !(yield* kvm_test_request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, vcpu))) {
    used = yield* kvm_x86_vcpu_run(vcpu, { gpa: 0 }, root);
  }
  yield* WRITE_ONCE(vcpu.mode, OUTSIDE_GUEST_MODE);
  yield* local_irq_restore(flags);
  return used;
});
