import { expect, test } from 'vitest';
import { mutex_lock, mutex_unlock, spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { local_irq_restore, local_irq_save } from '../../src/machine/ops/processor.ts';
import { build } from '../zoo/program.ts';
import { found } from './found.ts';

test('a task ends with interrupts off', () => {
  const program = build({
    words: {},
    threads: () => [
      function* () {
        yield* local_irq_save();
      },
    ],
  });
  expect(found(program)).toEqual(['irq-leak: CPU0 ends with interrupts off.']);
});

test('the inner of two nested sections restores what it found: off', () => {
  const program = build({
    words: {},
    threads: () => [
      function* () {
        yield* local_irq_save();
        yield* local_irq_restore(yield* local_irq_save());
      },
    ],
  });
  expect(found(program)).toEqual(['irq-leak: CPU0 ends with interrupts off.']);
});

test('a task ends holding locks', () => {
  const program = build({
    words: { mutex: 0, lock: 0 },
    threads: ({ mutex, lock }) => [
      function* () {
        yield* mutex_lock(mutex);
        yield* spin_lock(lock);
      },
    ],
  });
  expect(found(program)).toEqual(['lock-leak: CPU0 ends holding 2 locks.']);
});

test('an early return forgets the lock, in one order only', () => {
  const program = build({
    words: { lock: 0, done: 0 },
    threads: ({ lock, done }) => [
      () => WRITE_ONCE(done, 1),
      function* () {
        yield* spin_lock(lock);
        if ((yield* READ_ONCE(done)) === 1) return;
        yield* spin_unlock(lock);
      },
    ],
  });
  expect(found(program)).toEqual(['lock-leak: CPU1 ends holding 1 lock.']);
});

test('nothing is found if interrupts are on and every lock is dropped', () => {
  const program = build({
    words: { mutex: 0, lock: 0 },
    threads: ({ mutex, lock }) => [
      function* () {
        yield* mutex_lock(mutex);
        const flags = yield* local_irq_save();
        yield* spin_lock(lock);
        yield* spin_unlock(lock);
        yield* local_irq_restore(flags);
        yield* mutex_unlock(mutex);
      },
    ],
  });
  expect(found(program)).toEqual([]);
});
