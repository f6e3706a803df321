import { no } from '../../machine/protection.ts';
import { fn } from '../../machine/fn.ts';
import type { Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE, WRITE_ONCE } from '../../machine/ops/memory.ts';
import { smp_rmb, smp_wmb } from '../../machine/ops/store-buffer.ts';

/**
 * Sequence counters: a reader finds out afterwards whether a writer was there meanwhile.
 *
 * Guarantee: if `read_seqcount_retry` returns false and the number it was given was even, then the loads
 * between saw nothing of any write section that began after the first load. Mechanism: the writer makes the
 * number odd before and even after its stores. Assumes: writers exclude each other by other means.
 *
 * Follows linux v6.12 include/linux/seqlock.h.
 */
export const raw_read_seqcount = fn(
  function* raw_read_seqcount(seq: Word): Steps<number> {
    const value = yield* READ_ONCE(seq);
    yield* smp_rmb();
    return value;
  },
  { hidden: true },
);

/** Has the number changed since? */
export const read_seqcount_retry = fn(
  function* read_seqcount_retry(seq: Word, start: number): Steps<boolean> {
    yield* smp_rmb();
    return (yield* READ_ONCE(seq)) !== start;
  },
  { hidden: true, protects: { what: 'the re-check of the sequence count', without: no } },
);

export const raw_write_seqcount_begin = fn(function* raw_write_seqcount_begin(
  seq: Word,
): Steps<void> {
  yield* WRITE_ONCE(seq, (yield* READ_ONCE(seq)) + 1);
  yield* smp_wmb();
});

export const raw_write_seqcount_end = fn(function* raw_write_seqcount_end(seq: Word): Steps<void> {
  yield* smp_wmb();
  yield* WRITE_ONCE(seq, (yield* READ_ONCE(seq)) + 1);
});
