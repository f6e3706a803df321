import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { assume } from '../../src/machine/ops/control.ts';
import { READ_ONCE } from '../../src/machine/ops/memory.ts';
import { AGAIN, retry } from '../../src/machine/ops/retry.ts';
import type { Family, Maker } from './families.ts';
import { holds } from './ops.ts';
import type { Random } from './random.ts';
import type { Condition, LockMode, Stmt } from './spec.ts';

/** Loops that start again, in generated programs: how they are made up, and what they do. */

export type RetryStmt = Extract<Stmt, { readonly op: 'retry' }>;

interface Others {
  readonly read: Maker;
  readonly write: Maker;
  readonly cas: Maker;
  readonly locked: (modes: readonly LockMode[], ...inner: Maker[]) => Maker;
  readonly condition: (random: Random) => Condition;
}

/**
 * Loops look at the first two words, and store only to the third: two loops that wake each other by what they
 * store have endless runs.
 */
export function retryFamily({ read, write, cas, locked, condition }: Others): Family {
  const looks: Maker = (r) => ({ op: 'read', word: r.below(2) });
  const storesAndTakesBack: Maker = () => ({
    op: 'lock',
    mode: 'spin',
    lock: 0,
    body: [2, 0].map((plus) => ({ op: 'write', word: 2, value: { received: false, plus } })),
  });
  const retrying: Maker = (r) => ({
    op: 'retry',
    words: r.of([[0], [1], [0, 1]]),
    condition: condition(r),
    body: r.some(r.below(3), () =>
      r.of([looks, storesAndTakesBack, locked(['spin', 'read'], looks)])(r),
    ),
  });
  return {
    locks: 2,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [5, retrying],
      [4, write],
      [1, read],
      [1, cas],
      [1, locked(['spin', 'mutex'], write, read)],
    ],
  };
}

function* round(
  { words, condition }: RetryStmt,
  all: readonly Word[],
  body: () => Steps<void>,
): Steps<void | typeof AGAIN> {
  yield* body();
  const values: number[] = [];
  for (const at of words) values.push(yield* READ_ONCE(all[at] as Word));
  const read = values.map((value) => () => value);
  return holds(condition, read) ? undefined : AGAIN;
}

export function* retryStep(
  stmt: RetryStmt,
  words: readonly Word[],
  body: () => Steps<void>,
): Steps<void> {
  if (stmt.rounds === undefined) {
    yield* retry(() => round(stmt, words, body));
    return;
  }
  for (let left = stmt.rounds; left > 0; left--) {
    if ((yield* round(stmt, words, body)) !== AGAIN) return;
  }
  yield* assume(false);
}
