import { describe, expect, test } from 'vitest';
import { fn } from '../../src/machine/fn.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import {
  down_read,
  mutex_lock,
  mutex_unlock,
  spin_lock,
  spin_unlock,
  up_read,
} from '../../src/machine/ops/locks.ts';
import {
  csd_lock_wait,
  local_irq_restore,
  local_irq_save,
  preempt_disable,
  preempt_enable,
  send_ipi,
} from '../../src/machine/ops/processor.ts';
import {
  kmalloc_GFP_KERNEL,
  non_block_end,
  non_block_start,
} from '../../src/machine/ops/non-block.ts';
import { queue_callback, rcu_nest, wait_grace_period } from '../../src/machine/ops/rcu.ts';
import { build } from '../zoo/program.ts';
import { found } from './found.ts';

interface Locks {
  readonly mutex: Word;
  readonly lock: Word;
}

function run(task: (locks: Locks) => Steps<void>): string[] {
  const words = { mutex: 0, lock: 0 };
  return found(build({ words, threads: (w) => [() => task(w), noop] }));
}

function* noop(): Steps<void> {
  // the other CPU takes interrupts
}

function* sleep({ mutex }: Locks): Steps<void> {
  yield* mutex_lock(mutex);
  yield* mutex_unlock(mutex);
}

const ATOMIC = 'sleep-in-atomic: CPU0 may sleep on mutex in atomic context.';

describe('sleeping where it is not allowed', () => {
  test('with interrupts off', () => {
    const kinds = run(function* (locks) {
      const flags = yield* local_irq_save();
      yield* sleep(locks);
      yield* local_irq_restore(flags);
    });
    expect(kinds).toEqual([ATOMIC]);
  });

  test('with preemption off', () => {
    const kinds = run(function* (locks) {
      yield* preempt_disable();
      yield* sleep(locks);
      yield* preempt_enable();
    });
    expect(kinds).toEqual([ATOMIC]);
  });

  test('where somebody has said that it must not block', () => {
    const kinds = run(function* (locks) {
      yield* non_block_start();
      yield* sleep(locks);
      yield* non_block_end();
    });
    expect(kinds).toEqual([
      'sleep-in-atomic: CPU0 may sleep on mutex where it must not block (non_block_start()).',
    ]);
    const after = run(function* (locks) {
      yield* non_block_start();
      yield* non_block_end();
      yield* sleep(locks);
    });
    expect(after).toEqual([]);
  });

  test('by an allocation', () => {
    const kinds = run(function* ({ lock }) {
      yield* spin_lock(lock);
      yield* kmalloc_GFP_KERNEL();
      yield* spin_unlock(lock);
    });
    expect(kinds).toEqual([
      'sleep-in-atomic: CPU0 may sleep on kmalloc(GFP_KERNEL) in atomic context.',
    ]);
    expect(run(kmalloc_GFP_KERNEL)).toEqual([]);
  });

  test('under a spinlock', () => {
    const kinds = run(function* (locks) {
      yield* spin_lock(locks.lock);
      yield* sleep(locks);
      yield* spin_unlock(locks.lock);
    });
    expect(kinds).toEqual([ATOMIC]);
  });

  test('an unbalanced preempt_enable() does not hide it', () => {
    const kinds = run(function* (locks) {
      yield* preempt_enable();
      const flags = yield* local_irq_save();
      yield* sleep(locks);
      yield* local_irq_restore(flags);
    });
    expect(kinds).toEqual(['lock-leak: CPU0 calls preempt_enable() without preempt_disable().']);
  });

  test('in an RCU read-side section', () => {
    const kinds = run(function* (locks) {
      yield* rcu_nest(1);
      yield* sleep(locks);
      yield* rcu_nest(-1);
    });
    expect(kinds).toEqual([
      'sleep-in-atomic: CPU0 may sleep on mutex inside an RCU read-side section.',
    ]);
  });

  test('waiting for a grace period that one holds up oneself', () => {
    const kinds = run(function* () {
      yield* rcu_nest(1);
      yield* wait_grace_period();
      yield* rcu_nest(-1);
    });
    expect(kinds).toEqual([
      'sleep-in-atomic: CPU0 may sleep on synchronize_rcu() inside an RCU read-side section.',
    ]);
  });

  test('in an interrupt handler', () => {
    const kinds = run(function* (locks) {
      const handler = fn(function* handler() {
        yield* sleep(locks);
      });
      yield* send_ipi(1, handler, []);
    });
    expect(kinds).toEqual(['sleep-in-atomic: IPI: handler may sleep on mutex in atomic context.']);
  });

  test('in an RCU callback', () => {
    const kinds = run(function* (locks) {
      const callback = fn(function* callback() {
        yield* sleep(locks);
      });
      yield* queue_callback(callback, [], undefined);
    });
    expect(kinds).toEqual([
      'sleep-in-atomic: RCU callback: callback() may sleep on mutex in atomic context.',
    ]);
  });

  test('a lock taken for reading may sleep too', () => {
    const kinds = run(function* ({ mutex, lock }) {
      yield* spin_lock(lock);
      yield* down_read(mutex);
      yield* up_read(mutex);
      yield* spin_unlock(lock);
    });
    expect(kinds).toEqual([ATOMIC]);
  });
});

describe('nothing is found', () => {
  test('if everything that forbids sleeping has ended', () => {
    const kinds = run(function* (locks) {
      const flags = yield* local_irq_save();
      yield* local_irq_restore(flags);
      yield* rcu_nest(1);
      yield* rcu_nest(-1);
      yield* spin_lock(locks.lock);
      yield* spin_unlock(locks.lock);
      yield* sleep(locks);
      yield* wait_grace_period();
    });
    expect(kinds).toEqual([]);
  });

  test('if a spinlock is taken under a mutex', () => {
    const kinds = run(function* ({ mutex, lock }) {
      yield* mutex_lock(mutex);
      yield* spin_lock(lock);
      yield* spin_unlock(lock);
      yield* mutex_unlock(mutex);
    });
    expect(kinds).toEqual([]);
  });

  test('if a handler takes a spinlock, and the sender sleeps on nothing while it waits', () => {
    const kinds = run(function* ({ lock }) {
      const handler = fn(function* handler() {
        yield* spin_lock(lock);
        yield* spin_unlock(lock);
      });
      yield* csd_lock_wait(yield* send_ipi(1, handler, []));
    });
    expect(kinds).toEqual([]);
  });
});
