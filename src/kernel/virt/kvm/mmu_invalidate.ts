import { fn } from '../../../machine/fn.ts';
import { no } from '../../../machine/protection.ts';
import type { Steps } from '../../../machine/op.ts';
import { READ_ONCE, WRITE_ONCE } from '../../../machine/ops/memory.ts';
import { bug_on } from '../../../machine/ops/secondary.ts';
import { smp_wmb } from '../../../machine/ops/store-buffer.ts';
import type { Kvm } from './types.ts';

/**
 * Invalidations that are going on, and how many have ended: what a fault compares itself with (kvm_main.ts).
 *
 * Guarantee: if mmu_invalidate_retry_gfn() says no, under mmu_lock, every entry of the process that was removed
 * since the sequence was read had not been looked at by then.
 * Mechanism: start counts mmu_invalidate_in_progress up, and end first mmu_invalidate_seq up and then the count
 * down, each under mmu_lock exclusively. Under that lock the order of the two is nobody's business; who looks
 * without it, as pfncache.ts does with counts of its own, must find one of them changed at any moment (K4).
 *
 * Follows linux v6.12 virt/kvm/kvm_main.c (kvm_mmu_invalidate_begin, kvm_mmu_invalidate_end) and
 * include/linux/kvm_host.h (mmu_invalidate_retry_gfn).
 */

/** INVALID_GPA. */
export const INVALID_GPA = -1;

/** Announces an invalidation. Under mmu_lock, exclusively, before the first entry is removed. */
export const kvm_mmu_invalidate_begin = fn(function* kvm_mmu_invalidate_begin(
  kvm: Kvm,
): Steps<void> {
  const in_progress = (yield* READ_ONCE(kvm.mmu_invalidate_in_progress)) + 1;
  yield* WRITE_ONCE(kvm.mmu_invalidate_in_progress, in_progress);
  if (in_progress !== 1) return;
  yield* WRITE_ONCE(kvm.mmu_invalidate_range_start, INVALID_GPA);
  yield* WRITE_ONCE(kvm.mmu_invalidate_range_end, INVALID_GPA);
});

/** The announced range is the union of all that are going on; it shrinks only when none is left. */
export const kvm_mmu_invalidate_range_add = fn(function* kvm_mmu_invalidate_range_add(
  kvm: Kvm,
  start: number,
  end: number,
): Steps<void> {
  const from = yield* READ_ONCE(kvm.mmu_invalidate_range_start);
  const to = yield* READ_ONCE(kvm.mmu_invalidate_range_end);
  if (from === INVALID_GPA) {
    yield* WRITE_ONCE(kvm.mmu_invalidate_range_start, start);
    yield* WRITE_ONCE(kvm.mmu_invalidate_range_end, end);
    return;
  }
  yield* WRITE_ONCE(kvm.mmu_invalidate_range_start, Math.min(from, start));
  yield* WRITE_ONCE(kvm.mmu_invalidate_range_end, Math.max(to, end));
});

/** Whoever looked a page up before must look again. */
export const bump_invalidate_seq = fn(
  function* bump_invalidate_seq(kvm: Kvm): Steps<void> {
    yield* WRITE_ONCE(kvm.mmu_invalidate_seq, (yield* READ_ONCE(kvm.mmu_invalidate_seq)) + 1);
  },
  { hidden: true, protects: { what: 'mmu_invalidate_seq' } },
);

/** The invalidation is over. */
export const drop_invalidate_in_progress = fn(
  function* drop_invalidate_in_progress(kvm: Kvm): Steps<void> {
    const in_progress = (yield* READ_ONCE(kvm.mmu_invalidate_in_progress)) - 1;
    yield* WRITE_ONCE(kvm.mmu_invalidate_in_progress, in_progress);
    const message = `${kvm.name}->mmu_invalidate_in_progress is ${in_progress}: an end without its start.`;
    yield* bug_on(in_progress < 0, 'mmu_invalidate_in_progress', message); // KVM_BUG_ON()
  },
  { hidden: true },
);

/** The order matters to those who look without mmu_lock: no count, then the sequence (K4). */
export const kvm_mmu_invalidate_end = fn(function* kvm_mmu_invalidate_end(kvm: Kvm): Steps<void> {
  yield* bump_invalidate_seq(kvm);
  yield* smp_wmb();
  yield* drop_invalidate_in_progress(kvm);
});

/** Is an invalidation of the frame going on? */
export const mmu_invalidate_covers = fn(
  function* mmu_invalidate_covers(kvm: Kvm, gfn: number): Steps<boolean> {
    if ((yield* READ_ONCE(kvm.mmu_invalidate_in_progress)) === 0) return false;
    const start = yield* READ_ONCE(kvm.mmu_invalidate_range_start);
    const end = yield* READ_ONCE(kvm.mmu_invalidate_range_end);
    return start === INVALID_GPA || (gfn >= start && gfn < end);
  },
  { hidden: true, protects: { what: 'the test of mmu_invalidate_in_progress', without: no } },
);

/** Has one ended since the sequence was read? */
export const mmu_invalidate_seq_changed = fn(
  function* mmu_invalidate_seq_changed(kvm: Kvm, mmu_seq: number): Steps<boolean> {
    return (yield* READ_ONCE(kvm.mmu_invalidate_seq)) !== mmu_seq;
  },
  { hidden: true, protects: { what: 'the test of mmu_invalidate_seq', without: no } },
);

/** mmu_invalidate_retry_gfn(): may the page that was looked up at `mmu_seq` not be mapped? Under mmu_lock. */
export const mmu_invalidate_retry_gfn = fn(function* mmu_invalidate_retry_gfn(
  kvm: Kvm,
  mmu_seq: number,
  gfn: number,
): Steps<boolean> {
  if (yield* mmu_invalidate_covers(kvm, gfn)) return true;
  return yield* mmu_invalidate_seq_changed(kvm, mmu_seq);
});

/** The same without the lock, where the answer saves work and decides nothing. */
export const mmu_invalidate_retry_gfn_unsafe = fn(function* mmu_invalidate_retry_gfn_unsafe(
  kvm: Kvm,
  mmu_seq: number,
  gfn: number,
): Steps<boolean> {
  if (yield* mmu_invalidate_covers(kvm, gfn)) return true;
  return yield* mmu_invalidate_seq_changed(kvm, mmu_seq);
});
