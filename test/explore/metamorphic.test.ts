import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import type { Program } from '../../src/explore/run.ts';
import { MAX_ACTORS } from '../../src/machine/machine.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { title, zoo, type Counted } from '../zoo/index.ts';
import { build } from '../zoo/program.ts';
import { toyRcu } from '../zoo/rcu.ts';
import { seqlock } from '../zoo/seqlock.ts';
import { beside, permuted, renamed } from '../zoo/transform.ts';

/** Laws about counts that hold whatever the counts are. */

const USES_JOIN = new Set(['lastwrite']);
const SOME = 100;
const SEED = 20_261_121;

const small: readonly Counted[] = zoo.filter(({ runs }) => runs <= SOME);
const anySmall = fc.constantFrom(...small);
const noJoin = small.filter(({ name }) => !USES_JOIN.has(name));
const anyNoJoin = fc.constantFrom(...noJoin);

function counts(program: Program): { runs: number; deadlocks: number } {
  const { runs, deadlocks } = explore(program);
  return { runs, deadlocks };
}

function bystander(): Program {
  return build({
    words: { own: 0 },
    threads: ({ own }) => [
      function* () {
        yield* WRITE_ONCE(own, 1);
        return yield* READ_ONCE(own);
      },
    ],
  });
}

test.each(small.map((counted) => [title(counted), counted] as const))(
  '%s has as many executions beside somebody who touches nothing of it',
  (_title, counted) => {
    const { runs, deadlocks } = counted;
    expect(counts(beside(counted.build(), bystander()))).toEqual({ runs, deadlocks });
  },
);

test.each(small.map((counted) => [title(counted), counted] as const))(
  '%s has as many executions with other names',
  (_title, counted) => {
    const { runs, deadlocks } = counted;
    expect(counts(renamed(counted.build()))).toEqual({ runs, deadlocks });
  },
);

test('two programs side by side have the product of their executions', () => {
  const pairs = fc
    .tuple(anySmall, anyNoJoin)
    .filter(([a, b]) => a.runs * b.runs <= 2000 && threadsOf(a) + threadsOf(b) <= MAX_ACTORS);
  fc.assert(
    fc.property(pairs, ([a, b]) => {
      const together = counts(beside(a.build(), b.build()));
      expect(together).toEqual({
        runs: a.runs * b.runs,
        // Both together are stuck as soon as one of them is.
        deadlocks: a.deadlocks * b.runs + b.deadlocks * a.runs - a.deadlocks * b.deadlocks,
      });
    }),
    { seed: SEED, numRuns: 60 },
  );
});

test('the order of the threads does not matter', () => {
  const shuffled = anyNoJoin.chain((counted) => {
    const order = Array.from({ length: threadsOf(counted) }, (_, at) => at);
    const orders = fc.shuffledSubarray(order, { minLength: order.length });
    return fc.tuple(fc.constant(counted), orders);
  });
  fc.assert(
    fc.property(shuffled, ([counted, order]) => {
      const { runs, deadlocks } = counted;
      expect(counts(permuted(counted.build(), order))).toEqual({ runs, deadlocks });
    }),
    { seed: SEED, numRuns: 200 },
  );
});

function threadsOf({ build: make }: Counted): number {
  return make().actors.length;
}

describe('laws of families', () => {
  test.each([
    [1, 2],
    [1, 3],
    [2, 2],
    [3, 2],
  ])('readers of a sequence lock multiply: %i writes, %i readers', (n, m) => {
    const { runs } = counts(seqlock(n, 1));
    expect(counts(seqlock(n, m)).runs).toBe(runs ** m);
  });

  test.each([1, 2, 3, 4, 5, 6, 7])('toy RCU has 3^%i executions', (m) => {
    expect(counts(toyRcu(m)).runs).toBe(3 ** m);
  });
});
