import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { fn } from '../../src/machine/fn.ts';
import type { Steps } from '../../src/machine/op.ts';
import { spin_until } from '../../src/machine/ops/control.ts';
import { mutex_lock, mutex_unlock, spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import {
  csd_lock_wait,
  local_irq_restore,
  local_irq_save,
  send_ipi,
} from '../../src/machine/ops/processor.ts';
import { rcu_nest, wait_grace_period } from '../../src/machine/ops/rcu.ts';
import { ABBA } from '../zoo/locks.ts';
import { build } from '../zoo/program.ts';
import { found } from './found.ts';

const handler = fn(function* handler(): Steps<void> {
  // being there is enough
});

/** Both CPUs ask the other to run the handler and wait until it has. */
function crossCall(irqsOff: boolean) {
  return build({
    words: {},
    threads: () =>
      [1, 0].map(
        (other) =>
          function* () {
            const flags = irqsOff ? yield* local_irq_save() : 0;
            yield* csd_lock_wait(yield* send_ipi(other, handler, []));
            if (irqsOff) yield* local_irq_restore(flags);
          },
      ),
  });
}

describe('interrupts', () => {
  test('two CPUs with interrupts off wait for each other to handle one', () => {
    expect(found(crossCall(true))).toEqual([
      'deadlock: Nobody can go on: CPU0 waits for CPU1 to handle <IPI: handler>; ' +
        'CPU1 waits for CPU0 to handle <IPI: handler>; ' +
        'IPI: handler waits for CPU1 to take interrupts; ' +
        'IPI: handler waits for CPU0 to take interrupts.',
    ]);
  });

  test('and not in every order: the first may be done before the second begins', () => {
    const { runs, deadlocks } = explore(crossCall(true));
    expect(deadlocks).toBeGreaterThan(0);
    expect(runs).toBeGreaterThan(deadlocks);
  });

  test('nothing is found with interrupts on: the waiting task is interrupted', () => {
    expect(found(crossCall(false))).toEqual([]);
  });

  test('a handler wants the lock that the task it interrupted holds', () => {
    const takes = (irqsOff: boolean) =>
      build({
        words: { lock: 0 },
        threads: ({ lock }) => {
          const locking = fn(function* locking(): Steps<void> {
            yield* spin_lock(lock);
            yield* spin_unlock(lock);
          });
          return [
            function* () {
              const flags = irqsOff ? yield* local_irq_save() : 0;
              yield* spin_lock(lock);
              yield* spin_unlock(lock);
              if (irqsOff) yield* local_irq_restore(flags);
            },
            () => send_ipi(0, locking, []),
          ];
        },
      });
    expect(found(takes(false))).toEqual([
      'deadlock: Nobody can go on: CPU0 waits for CPU0 to return from its interrupt handler; ' +
        'IPI: locking waits for lock, held by CPU0.',
    ]);
    expect(found(takes(true))).toEqual([]);
  });
});

describe('locks and waiting', () => {
  test('two locks are taken in opposite orders', () => {
    expect(found(ABBA())).toEqual([
      'deadlock: Nobody can go on: CPU0 waits for b, held by CPU1; CPU1 waits for a, held by CPU0.',
    ]);
  });

  test('a mutex is taken twice by the same task', () => {
    const program = build({
      words: { mutex: 0 },
      threads: ({ mutex }) => [
        function* () {
          yield* mutex_lock(mutex);
          yield* mutex_lock(mutex);
          yield* mutex_unlock(mutex);
        },
      ],
    });
    expect(found(program)).toEqual([
      'deadlock: Nobody can go on: CPU0 waits for mutex, held by CPU0.',
    ]);
  });

  test('a grace period is awaited under a lock that the reader wants', () => {
    const program = build({
      words: { mutex: 0, lock: 0 },
      threads: ({ mutex, lock }) => [
        function* () {
          yield* mutex_lock(mutex);
          yield* wait_grace_period();
          yield* mutex_unlock(mutex);
        },
        function* () {
          yield* rcu_nest(1);
          yield* spin_until([mutex], (owner) => owner === 0);
          yield* rcu_nest(-1);
          yield* WRITE_ONCE(lock, 0);
        },
      ],
    });
    expect(found(program)).toEqual([
      'deadlock: Nobody can go on: CPU0 waits for a grace period; CPU1 waits for a change of mutex.',
    ]);
  });

  test('nothing is found if both take the locks in the same order', () => {
    const program = build({
      words: { a: 0, b: 0 },
      threads: ({ a, b }) =>
        [0, 1].map(
          () =>
            function* () {
              yield* spin_lock(a);
              yield* spin_lock(b);
              yield* spin_unlock(b);
              yield* spin_unlock(a);
            },
        ),
    });
    expect(found(program)).toEqual([]);
  });
});
