import { fn, leaf } from '../../../machine/fn.ts';
import { no } from '../../../machine/protection.ts';
import type { Steps } from '../../../machine/op.ts';
import {
  mutex_lock,
  mutex_unlock,
  spin_lock,
  spin_unlock,
  write_lock,
  write_unlock,
} from '../../../machine/ops/locks.ts';
import { READ_ONCE, store_word } from '../../../machine/ops/memory.ts';
import { free_frame } from '../../../machine/ops/pages.ts';
import { AGAIN, retry } from '../../../machine/ops/retry.ts';
import type { GfnRange } from '../../../machine/ops/secondary.ts';
import { synchronize_srcu } from '../../kernel/srcu.ts';
import { PAGE_SIZE } from '../../mm/layout.ts';
import type { Kvm, Memslot, MemslotObject, Memslots } from './types.ts';
import { kvm_flush_remote_tlbs } from './vcpu.ts';

/**
 * The memslots: which host addresses back which guest frames.
 *
 * Guarantee: when a slot is gone no entry that was made through it is left, and the start and the end of an
 * invalidation find the same slots.
 * Mechanism: a set of slots is never changed but replaced, and its readers are sections of kvm->srcu. A slot goes
 * in two replacements: by a copy that says KVM_MEMSLOT_INVALID, which no fault uses; then, after a grace period,
 * when nobody is left who knows the valid one, its entries are removed; then it is taken out of the set. So the
 * notifiers know the slot for as long as there may be entries of it.
 * A replacement waits until no invalidation is between start and end (mn_active_invalidate_count), and holds
 * mn_invalidate_lock over the store, so that none begins before it.
 * Why a counter and no rw_semaphore: a fair one keeps new readers out while a writer waits, and an
 * invalidation may have to wait for somebody who starts another one (K8). So invalidations without end
 * keep a replacement waiting.
 * A slot that is in no set any more is freed after the last replacement's grace period: whoever reads slots without an
 * invalidation of his own that holds a replacement up (faults, aging, pfncache.ts) relies on his section alone.
 *
 * Assumes: one set of slots at a time is prepared, under slots_lock; addresses of one address space.
 *
 * Follows linux v6.12 virt/kvm/kvm_main.c (kvm_swap_active_memslots, kvm_invalidate_memslot, kvm_delete_memslot).
 */

/** kvm_memslots(): the set of slots that is current. Under kvm->srcu. */
export const kvm_memslots = fn(
  function* kvm_memslots(kvm: Kvm): Steps<Memslots> {
    return kvm.memslot_sets[yield* READ_ONCE(kvm.memslots)] ?? [];
  },
  { hidden: true },
);

/** __gfn_to_memslot(): the slot of a set that a guest frame is in, or null. */
export function __gfn_to_memslot(slots: Memslots, gfn: number): Memslot | null {
  return slots.find(({ base_gfn, npages }) => gfn >= base_gfn && gfn < base_gfn + npages) ?? null;
}

/** The slot that a guest frame is in, or null. */
export const gfn_to_memslot = fn(function* gfn_to_memslot(
  kvm: Kvm,
  gfn: number,
): Steps<Memslot | null> {
  return __gfn_to_memslot(yield* kvm_memslots(kvm), gfn);
});

/** A field of a slot as memory has it: who reads it must know that the slot is there. */
function* read_slot(kvm: Kvm, slot: Memslot, field: 'flags' | 'userspace_addr'): Steps<number> {
  const object = kvm.memslot_objects.get(slot) as MemslotObject; // new_vm() has made one of each
  return yield* READ_ONCE(object[field]);
}

/** __gfn_to_hva_memslot(). */
export const gfn_to_hva_memslot = fn(
  function* gfn_to_hva_memslot(kvm: Kvm, slot: Memslot, gfn: number): Steps<number> {
    return (yield* read_slot(kvm, slot, 'userspace_addr')) + (gfn - slot.base_gfn) * PAGE_SIZE;
  },
  { hidden: true },
);

/** The guest frames that host addresses [from, to) back. */
export function hva_range_to_gfns(slots: Memslots, from: number, to: number): GfnRange[] {
  return slots.flatMap(({ base_gfn, npages, userspace_addr }) => {
    const first = Math.max(0, Math.floor((from - userspace_addr) / PAGE_SIZE));
    const last = Math.min(npages, Math.ceil((to - userspace_addr) / PAGE_SIZE));
    return first < last ? [{ start: base_gfn + first, end: base_gfn + last }] : [];
  });
}

/** The same, by slots that are in memory. Under kvm->srcu. */
export function* gfns_of_hva_range(kvm: Kvm, from: number, to: number): Steps<GfnRange[]> {
  const slots = yield* kvm_memslots(kvm);
  for (const slot of slots) yield* read_slot(kvm, slot, 'userspace_addr'); // the search
  return hva_range_to_gfns(slots, from, to);
}

/** The same for checks, by the set of slots that is current. No step. */
export function hva_range_to_gfns_now(kvm: Kvm, from: number, to: number): GfnRange[] {
  const current = kvm.machine.memory.load(kvm.memslots);
  return hva_range_to_gfns(kvm.memslot_sets[current] ?? [], from, to);
}

export const KVM_MEMSLOT_INVALID: number = 1 << 16;

/** Is there a slot that may not be used any more? Whoever finds one tries again: it will be gone. */
export const kvm_memslot_is_invalid = fn(
  function* kvm_memslot_is_invalid(kvm: Kvm, slot: Memslot): Steps<boolean> {
    return ((yield* read_slot(kvm, slot, 'flags')) & KVM_MEMSLOT_INVALID) !== 0;
  },
  { hidden: true, protects: { what: 'the test for KVM_MEMSLOT_INVALID', without: no } },
);

/** rcu_assign_pointer(kvm->memslots, ...). */
export const rcu_assign_memslots = leaf(function* rcu_assign_memslots(
  kvm: Kvm,
  memslots: number,
): Steps<void> {
  yield* store_word(kvm.memslots, memslots);
});

/** Is an invalidation between its start and its end? */
export const mn_is_active = fn(
  function* mn_is_active(kvm: Kvm): Steps<boolean> {
    return (yield* READ_ONCE(kvm.mn_active_invalidate_count)) !== 0;
  },
  { hidden: true, protects: { what: 'the wait for mn_active_invalidate_count', without: no } },
);

/** kvm_swap_active_memslots(): makes the set `memslots` current. Under slots_lock. */
export const kvm_swap_active_memslots = fn(function* kvm_swap_active_memslots(
  kvm: Kvm,
  memslots: number,
): Steps<void> {
  yield* retry(function* () {
    yield* spin_lock(kvm.mn_invalidate_lock);
    if (yield* mn_is_active(kvm)) {
      yield* spin_unlock(kvm.mn_invalidate_lock);
      return AGAIN; // rcuwait: the last invalidation to end wakes it
    }
    yield* rcu_assign_memslots(kvm, memslots);
    yield* spin_unlock(kvm.mn_invalidate_lock);
    return undefined;
  });
  yield* synchronize_srcu(kvm.srcu);
});

/** kvm_arch_flush_shadow_memslot(): removes what is mapped through the slot. */
export const kvm_arch_flush_shadow_memslot = fn(function* kvm_arch_flush_shadow_memslot(
  kvm: Kvm,
  { base_gfn, npages }: Memslot,
): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  const flush = yield* kvm.mmu.unmap_gfn_range(kvm, base_gfn, base_gfn + npages);
  if (flush) yield* kvm_flush_remote_tlbs(kvm); // within the lock: see kvm_main.ts
  yield* write_unlock(kvm.mmu_lock);
});

/** kvm_free_memslot(): no set has the slot any more, and no reader's section is from before. */
export const kvm_free_memslot = fn(function* kvm_free_memslot(slot: MemslotObject): Steps<void> {
  yield* free_frame(slot.memory); // kfree(): from now on it may be anything
});

/** kvm_set_memslot(KVM_MR_DELETE): by the set in which `slot` is invalid, to the set in which it is not. */
export const kvm_delete_memslot = fn(function* kvm_delete_memslot(
  kvm: Kvm,
  slot: Memslot,
  invalid: number,
  without: number,
): Steps<void> {
  yield* mutex_lock(kvm.slots_lock);
  yield* kvm_swap_active_memslots(kvm, invalid);
  yield* kvm_arch_flush_shadow_memslot(kvm, slot);
  yield* kvm_swap_active_memslots(kvm, without);
  for (const [each, object] of kvm.memslot_objects) {
    const was = each === slot || kvm.memslot_sets[invalid]?.includes(each) === true;
    if (!was || kvm.memslot_sets[without]?.includes(each) === true) continue;
    yield* kvm_free_memslot(object);
  }
  yield* mutex_unlock(kvm.slots_lock);
});

/** kvm_set_memslot(KVM_MR_CREATE): to the set in which there is one slot more. */
export const kvm_create_memslot = fn(function* kvm_create_memslot(
  kvm: Kvm,
  memslots: number,
): Steps<void> {
  yield* mutex_lock(kvm.slots_lock);
  yield* kvm_swap_active_memslots(kvm, memslots);
  yield* mutex_unlock(kvm.slots_lock);
});
