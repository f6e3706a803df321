import { fn, leaf } from '../../../../machine/fn.ts';
import { PAGE_SIZE, type Entry, type Word } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { cmpxchg_entry, read_entry, write_entry } from '../../../../machine/ops/memory.ts';
import { preempt_disable, preempt_enable } from '../../../../machine/ops/processor.ts';
import { AGAIN, retry } from '../../../../machine/ops/retry.ts';
import { no } from '../../../../machine/protection.ts';
import type { Kvm } from '../../../virt/kvm/types.ts';

/**
 * The word from which the entries that map a guest frame are found (struct kvm_rmap_head), and its lock.
 *
 * Guarantee: while somebody has the lock, the chain that the word leads to does not change, and nothing in it is
 * freed: neither a pte_list_desc nor a shadow page with an entry in the chain, because that entry has to leave
 * the chain first. The entries themselves are not protected: they are cleared, then taken off the chain.
 * Mechanism: bit 1 of the word. Who changes chains holds mmu_lock for writing as well; who takes the lock without
 * it (aging, since v6.15) only reads the chain. An empty word is not locked: there is nothing to walk, and only
 * holders of mmu_lock add to it.
 * Why preemption is off: the bit is no lock that the scheduler knows. If its holder were preempted, others would
 * spin for as long as that lasts, and on its own CPU for ever.
 *
 * Follows linux v6.15 arch/x86/kvm/mmu/mmu.c (__kvm_rmap_lock and those that use it).
 */

/** Bit 0: the word points to a pte_list_desc. Bit 1: it is locked. */
export const KVM_RMAP_MANY = 1n;
export const KVM_RMAP_LOCKED = 2n;
const TAGS = KVM_RMAP_MANY | KVM_RMAP_LOCKED;

/** What diagrams call the low bits of the word. */
export const RMAP_TAGS: Readonly<Record<number, string>> = {
  1: 'KVM_RMAP_MANY',
  2: 'KVM_RMAP_LOCKED',
  3: 'KVM_RMAP_MANY | KVM_RMAP_LOCKED',
};

/** What the word says: nothing, a pointer to an entry, or one to a pte_list_desc; and its low bits. */
export type RmapVal = Entry;

/** A pointer to a word of a frame, as the word says it. */
export function pointer_val(kvm: Kvm, at: RmapTarget, tag: bigint): RmapVal {
  const address = BigInt(at.frame * PAGE_SIZE + at.index * 8);
  return kvm.machine.memory.entry(address | tag, at.generation);
}

export interface RmapTarget {
  readonly frame: number;
  readonly generation: number;
  readonly index: number;
}

/** Where a value points to. */
export function target_of({ bits, generation }: RmapVal): RmapTarget {
  const address = Number(bits & ~TAGS);
  const frame = Math.floor(address / PAGE_SIZE);
  return { frame, generation, index: (address % PAGE_SIZE) / 8 };
}

export function rmap_empty(kvm: Kvm): RmapVal {
  return kvm.machine.memory.entry(0n, 0);
}

const locked = (kvm: Kvm, { bits, generation }: RmapVal): RmapVal =>
  kvm.machine.memory.entry(bits | KVM_RMAP_LOCKED, generation);

/** kvm_rmap_get(): one load. */
export const kvm_rmap_get = leaf(function* kvm_rmap_get(rmap_head: Word): Steps<RmapVal> {
  return yield* read_entry(rmap_head);
});

const atomic_long_try_cmpxchg_acquire = leaf(
  function* atomic_long_try_cmpxchg_acquire(
    rmap_head: Word,
    old: RmapVal,
    val: RmapVal,
  ): Steps<boolean> {
    return yield* cmpxchg_entry(rmap_head, old, val);
  },
  { address: [0] },
);

/** atomic_long_set_release(): on x86 a plain store. */
export const atomic_long_set_release = leaf(
  function* atomic_long_set_release(rmap_head: Word, val: RmapVal): Steps<void> {
    yield* write_entry(rmap_head, val);
  },
  { address: [0] },
);

/** Waits, without sleeping, until whoever has the lock has dropped it. Returns what the word says then. */
const rmap_wait = fn(
  function* rmap_wait(rmap_head: Word): Steps<RmapVal> {
    return yield* retry(function* () {
      const val = yield* kvm_rmap_get(rmap_head);
      return (val.bits & KVM_RMAP_LOCKED) === 0n ? val : AGAIN;
    });
  },
  { hidden: true },
);

/** The look at the word after waiting: has whoever had the lock taken the last entry off the chain? */
export const rmap_was_purged = fn(
  function* rmap_was_purged(val: RmapVal): Steps<boolean> {
    return val.bits === 0n;
  },
  { hidden: true, protects: { what: 'the re-check for an empty rmap', without: no } },
);

/** __kvm_rmap_lock(): returns what the word says without the lock bit; if it is empty, the lock is not taken. */
export const __kvm_rmap_lock = fn(
  function* __kvm_rmap_lock(kvm: Kvm, rmap_head: Word): Steps<RmapVal> {
    let old = yield* kvm_rmap_get(rmap_head);
    if (old.bits === 0n) return old;
    for (;;) {
      if ((old.bits & KVM_RMAP_LOCKED) !== 0n) old = yield* rmap_wait(rmap_head);
      if (yield* rmap_was_purged(old)) return old;
      const val = locked(kvm, old);
      if (yield* atomic_long_try_cmpxchg_acquire(rmap_head, old, val)) return old;
      old = yield* kvm_rmap_get(rmap_head);
    }
  },
  { onBehalf: true },
);

/** For changing the chain; mmu_lock is held for writing. */
export const kvm_rmap_lock = fn(function* kvm_rmap_lock(kvm: Kvm, rmap_head: Word): Steps<RmapVal> {
  return yield* __kvm_rmap_lock(kvm, rmap_head);
});

/** Stores the chain's new beginning, unlocked. */
export const kvm_rmap_unlock = fn(function* kvm_rmap_unlock(
  rmap_head: Word,
  val: RmapVal,
): Steps<void> {
  yield* atomic_long_set_release(rmap_head, val);
});

/** For reading the chain without mmu_lock. An empty chain is not locked. */
export const kvm_rmap_lock_readonly = fn(function* kvm_rmap_lock_readonly(
  kvm: Kvm,
  rmap_head: Word,
): Steps<RmapVal> {
  yield* preempt_disable();
  const val = yield* __kvm_rmap_lock(kvm, rmap_head);
  if (val.bits === 0n) yield* preempt_enable();
  return val;
});

export const kvm_rmap_unlock_readonly = fn(function* kvm_rmap_unlock_readonly(
  rmap_head: Word,
  val: RmapVal,
): Steps<void> {
  if (val.bits === 0n) return;
  yield* atomic_long_set_release(rmap_head, val);
  yield* preempt_enable();
});
