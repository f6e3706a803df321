import { describe, expect, test } from 'vitest';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { explore } from '../../src/explore/explore.ts';
import { srcu_read_lock, srcu_read_unlock } from '../../src/kernel/kernel/srcu.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import { AGAIN, retry } from '../../src/machine/ops/retry.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { tasks } from '../zoo/tables.ts';

type Body = (x: Word, lock: Word) => Steps<unknown>;

/** What is found where one goes round a loop about x and another changes x. */
function race(loop: Body, other: Body): string[] {
  const machine = new Machine({
    arch: x86_64_descriptor,
    cpus: ['CPU0', 'CPU1'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const x = machine.memory.variable('x');
  const lock = machine.memory.variable('lock');
  machine.cells.settle();
  const program = tasks(
    machine,
    () => loop(x, lock),
    () => other(x, lock),
  );
  const { runs, violations } = explore(program);
  expect(runs).toBeGreaterThan(1);
  return [...violations.values()].map(({ violation }) => violation.kind);
}

function* goes_up_and_down(x: Word): Steps<void> {
  yield* WRITE_ONCE(x, 1);
  yield* WRITE_ONCE(x, 0);
}

function* is_cleared(x: Word): Steps<void> {
  yield* WRITE_ONCE(x, 0);
}

describe('a round that the next one need not be like', () => {
  test('it has seen x before and while it was 1; now x is as before', () => {
    const until_steady: Body = (x) =>
      retry(function* () {
        const first = yield* READ_ONCE(x);
        return first === (yield* READ_ONCE(x)) ? undefined : AGAIN;
      });
    expect(race(until_steady, goes_up_and_down)).toEqual([]);
  });

  test('it has set x, and somebody has taken that back', () => {
    const until_found_set: Body = (x) =>
      retry(function* () {
        const was_clear = yield* try_cmpxchg(x, 0, 1);
        return was_clear ? AGAIN : undefined;
      });
    expect(race(until_found_set, is_cleared)).toEqual([]);
  });

  test.each([
    ['a lock', spin_lock, spin_unlock],
    ['a section of SRCU', srcu_read_lock, (domain: Word) => srcu_read_unlock(domain, 0)],
  ] as const)('it waits inside %s, which the round before has left', (_what, lock, unlock) => {
    const lets_others_in: Body = function* (x, inside) {
      yield* lock(inside);
      yield* retry(function* () {
        const seen = yield* READ_ONCE(x);
        yield* unlock(inside);
        yield* lock(inside);
        return seen === 1 ? undefined : AGAIN;
      });
      yield* unlock(inside);
    };
    const raced = (): unknown => race(lets_others_in, goes_up_and_down);
    expect(raced).toThrow(expect.objectContaining({ code: 'E132' }));
  });

  test('but one that only looks waits for what it has seen', () => {
    const until_2: Body = (x) =>
      retry(function* () {
        return (yield* READ_ONCE(x)) === 2 ? undefined : AGAIN;
      });
    expect(race(until_2, goes_up_and_down)).toEqual(['livelock']);
  });
});
