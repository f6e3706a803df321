import type { AnyFn } from '../../src/machine/fn.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import {
  queue_srcu_callback,
  srcu_enter,
  srcu_leave,
  wait_srcu_grace_period,
} from '../../src/machine/ops/srcu.ts';
import type { Family, Maker } from './families.ts';
import type { Random } from './random.ts';
import type { LockMode, SrcuStmt, Stmt } from './spec.ts';

/** Statements of SRCU in generated programs: how they are made up, and what they do. */

const domain = (r: Random): number => r.of([0, 0, 0, 1]);

const srcu =
  (...inner: Maker[]): Maker =>
  (r) => ({ op: 'srcu', domain: domain(r), body: r.some(r.between(0, 2), () => r.of(inner)(r)) });
const srcuLock: Maker = (r) => ({ op: 'srcu-lock', domain: domain(r) });
const srcuUnlock: Maker = (r) => ({ op: 'srcu-unlock', domain: domain(r) });
const callSrcu: Maker = (r) => ({
  op: 'call-srcu',
  domain: domain(r),
  handler: 2 + r.below(2),
});
const synchronizeSrcu: Maker = (r) => ({ op: 'synchronize-srcu', domain: domain(r) });

/** Programs of the family; their other statements are everybody's. */
export function srcuFamily({
  read,
  write,
  wait,
  locked,
  rcu,
}: {
  readonly read: Maker;
  readonly write: Maker;
  readonly wait: Maker;
  readonly locked: (modes: readonly LockMode[], ...inner: Maker[]) => Maker;
  readonly rcu: (...inner: Maker[]) => Maker;
}): Family {
  return {
    srcu: true,
    locks: 2,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [4, srcu(write, read, synchronizeSrcu, wait)],
      [3, callSrcu],
      [3, synchronizeSrcu],
      [1, srcuLock],
      [1, srcuUnlock],
      [1, locked(['mutex', 'spin'], synchronizeSrcu, srcu(write))],
      [2, write],
      [2, read],
      [0.5, () => ({ op: 'synchronize' })],
      [0.5, rcu(srcu(write), callSrcu)],
    ],
    callbacks: [
      [3, write],
      [1, srcu(read)],
      [1, read],
    ],
  };
}

export function* srcuStep(
  stmt: SrcuStmt,
  domains: readonly Word[],
  handlers: readonly AnyFn[],
  local: { number: number },
  block: (body: readonly Stmt[]) => Steps<void>,
): Steps<void> {
  const word = domains[stmt.domain] as Word;
  switch (stmt.op) {
    case 'srcu': {
      const index = yield* srcu_enter(word);
      yield* block(stmt.body);
      yield* srcu_leave(word, index);
      break;
    }
    case 'srcu-lock':
      local.number = yield* srcu_enter(word);
      break;
    case 'srcu-unlock':
      yield* srcu_leave(word, 0);
      break;
    case 'call-srcu':
      yield* queue_srcu_callback(word, handlers[stmt.handler] as AnyFn, []);
      break;
    case 'synchronize-srcu':
      yield* wait_srcu_grace_period(word);
      break;
  }
}
