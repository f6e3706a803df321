import { leaf } from '../fn.ts';
import type { Machine } from '../machine.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import type { StoreBuffers } from '../store-buffers.ts';

/** The step that takes a store to memory, and the barriers. */

function buffersOf(m: Machine): StoreBuffers {
  return m.buffers as StoreBuffers; // there is nobody else who takes this step
}

export const flushOp = defineOp('flush', {
  ordering: 'none',
  guard: (read, m, _who, [buffer, at]: [number, number]) => buffersOf(m).isIssued(read, buffer, at),
  exec: (m, _who, [buffer, at]) => {
    buffersOf(m).flush(buffer, at);
    return undefined;
  },
  describe: (m, _who, [buffer, at]) => {
    const { word, remark } = buffersOf(m).issued(buffer, at);
    return { event: word ? 'reaches memory' : 'is seen by others', comment: remark?.() };
  },
});

/** What the actor of a store buffer does: one entry after the other, whenever there is one. */
export function* drain(buffer: number): Steps<never> {
  for (let at = 0; ; at++) yield* perform(flushOp, [buffer, at]);
}

/** A barrier does nothing but wait: see `Ordering`. */
const barrierOp = defineOp('smp_mb', { ordering: 'full', exec: () => undefined });

/** Nothing after it happens before everything stored before it is in memory. x86: a locked add, or MFENCE. */
export const smp_mb = leaf(
  function* smp_mb(): Steps<void> {
    yield* perform(barrierOp, []);
  },
  { protects: { what: 'smp_mb()' } },
);

/** Makes the srcu_read_unlock() before it a full barrier (include/linux/srcu.h). */
export const smp_mb__after_srcu_read_unlock = leaf(
  function* smp_mb__after_srcu_read_unlock(): Steps<void> {
    yield* perform(barrierOp, []);
  },
  { protects: { what: 'smp_mb__after_srcu_read_unlock()' } },
);

/** Makes an atomic instruction before it a barrier. On x86 it is one anyway: no step. */
export const smp_mb__after_atomic = leaf(function* smp_mb__after_atomic(): Steps<void> {});

/** Keeps stores in order. x86 does so by itself: it is there for the compiler and costs no step. */
export const smp_wmb = leaf(function* smp_wmb(): Steps<void> {});

/** Keeps loads in order. x86 does so by itself: it is there for the compiler and costs no step. */
export const smp_rmb = leaf(function* smp_rmb(): Steps<void> {});
