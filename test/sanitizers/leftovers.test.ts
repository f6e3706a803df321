import { describe, expect, test } from 'vitest';
import { fn } from '../../src/machine/fn.ts';
import type { Steps } from '../../src/machine/op.ts';
import { mutex_lock, mutex_unlock, spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import {
  csd_lock_wait,
  local_irq_restore,
  local_irq_save,
  preempt_disable,
  preempt_enable,
  send_ipi,
} from '../../src/machine/ops/processor.ts';
import { rcu_nest } from '../../src/machine/ops/rcu.ts';
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
  expect(found(program)).toEqual(['lock-leak: CPU0 ends holding mutex and lock.']);
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
  expect(found(program)).toEqual(['lock-leak: CPU1 ends holding lock.']);
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

/** What one task alone leaves behind. */
function alone(task: () => Steps<unknown>): string[] {
  return found(build({ words: {}, threads: () => [task] }));
}

describe('sections left open', () => {
  const leaves = (open: () => Steps<void>) =>
    fn(function* leaves(): Steps<void> {
      yield* open();
    });

  test('an RCU read-side section, of a task and of a handler', () => {
    const how = 'ends inside an RCU read-side section.';
    expect(alone(() => rcu_nest(1))).toEqual([`rcu-misuse: CPU0 ${how}`]);
    const handler = leaves(() => rcu_nest(1));
    expect(alone(() => send_ipi(0, handler, []))).toEqual([`rcu-misuse: IPI: leaves ${how}`]);
  });

  test('preemption off, by a task and by a handler', () => {
    expect(alone(() => preempt_disable())).toEqual(['lock-leak: CPU0 ends with preemption off.']);
    expect(alone(() => send_ipi(0, leaves(preempt_disable), []))).toEqual([
      'lock-leak: IPI: leaves ends with preemption off.',
    ]);
  });

  test('nothing is found if each is closed as often as it was opened', () => {
    const kinds = alone(function* () {
      yield* rcu_nest(1);
      yield* preempt_disable();
      yield* preempt_disable();
      yield* preempt_enable();
      yield* rcu_nest(-1);
      yield* preempt_enable();
    });
    expect(kinds).toEqual([]);
  });
});

describe('sections closed that were not open', () => {
  const ENABLES = 'calls preempt_enable() without preempt_disable().';

  test('preempt_enable()', () => {
    expect(alone(() => preempt_enable())).toEqual([`lock-leak: CPU0 ${ENABLES}`]);
  });

  test('preempt_enable() where something else keeps preemption off', () => {
    const kinds = alone(function* () {
      const flags = yield* local_irq_save();
      yield* preempt_enable();
      yield* local_irq_restore(flags);
    });
    expect(kinds).toEqual([`lock-leak: CPU0 ${ENABLES}`]);
  });

  test('preempt_enable() in a handler that interrupts a section', () => {
    const enables = fn(function* enables(): Steps<void> {
      yield* preempt_enable();
    });
    const kinds = alone(function* () {
      yield* preempt_disable();
      yield* csd_lock_wait(yield* send_ipi(0, enables, []));
      yield* preempt_enable();
    });
    expect(kinds).toEqual([`lock-leak: IPI: enables ${ENABLES}`]);
  });

  test('two interrupt sections in the wrong order: the second restores "off"', () => {
    const kinds = alone(function* () {
      const outer = yield* local_irq_save();
      const inner = yield* local_irq_save();
      yield* local_irq_restore(outer);
      yield* local_irq_restore(inner);
    });
    expect(kinds).toEqual(['irq-leak: CPU0 ends with interrupts off.']);
  });

  test('nothing is found if interrupts are turned on that are on: that changes nothing', () => {
    const kinds = alone(function* () {
      const flags = yield* local_irq_save();
      yield* local_irq_restore(flags);
      yield* local_irq_restore(flags);
    });
    expect(kinds).toEqual([]);
  });

  test('nothing is found if nested sections are closed from the inside out', () => {
    const kinds = alone(function* () {
      const outer = yield* local_irq_save();
      const inner = yield* local_irq_save();
      yield* local_irq_restore(inner);
      yield* local_irq_restore(outer);
    });
    expect(kinds).toEqual([]);
  });
});
