import { fn, leaf, type AnyFn } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import {
  queue_srcu_callback,
  queue_srcu_callback_at_once,
  srcu_enter,
  srcu_leave,
  wait_srcu_grace_period,
} from '../../machine/ops/srcu.ts';

/**
 * Sleepable RCU (SRCU), as the abstract specification.
 *
 * Guarantee: synchronize_srcu(domain) returns, and a callback of call_srcu(domain) runs, only after every
 * read-side section of that domain that began before has ended; what was stored in those sections is in
 * memory by then, and whoever opens a section later sees what was stored before the grace period.
 * Mechanism: a snapshot of the domain's open sections, and a wait for the end of each of them. Sections leave
 * preemption on: a reader may sleep, and may sleep for as long as it likes.
 * Why here: this is what callers may rely on and no more. Neither end of a section is promised to be a barrier
 * for anything but grace periods, which is why smp_mb__after_srcu_read_unlock() exists.
 * Not provided: no other domain and no RCU section is waited for; waiting for a section of one's own, or for
 * somebody who waits for oneself, never ends.
 *
 * Follows linux v6.12 kernel/rcu/srcutree.c and Documentation/RCU (whatisRCU, checklist 13 and 14).
 */

/** Opens a section of the domain and returns its index. The reader may sleep. */
export const srcu_read_lock = leaf(
  function* srcu_read_lock(domain: Word): Steps<number> {
    return yield* srcu_enter(domain);
  },
  {
    address: [0],
    protects: {
      what: 'srcu_read_lock()',
      opens: 'srcu_read_lock',
      *without() {
        return 0;
      },
    },
  },
);

/** Ends the section that srcu_read_lock() returned `index` for. */
export const srcu_read_unlock = leaf(
  function* srcu_read_unlock(domain: Word, index: number): Steps<void> {
    yield* srcu_leave(domain, index);
  },
  { address: [0], closes: 'srcu_read_lock' },
);

/** What `why` takes away of call_srcu() and synchronize_srcu(). */
export const SRCU_GRACE_PERIOD = 'the SRCU grace period';

/**
 * Runs `callback(...args)` after a grace period of the domain, where it may not sleep
 * (srcu_invoke_callbacks()). `effect`: bookkeeping of the same step (life states).
 */
export const call_srcu = leaf(
  function* call_srcu(
    domain: Word,
    callback: AnyFn,
    args: readonly unknown[],
    effect?: (machine: Machine) => void,
  ): Steps<void> {
    yield* queue_srcu_callback(domain, callback, args, effect);
  },
  { address: [0], protects: { what: SRCU_GRACE_PERIOD, without: queue_srcu_callback_at_once } },
);

/** Waits for a grace period of the domain. May sleep; inside one of its sections it waits for itself. */
export const synchronize_srcu = fn(
  function* synchronize_srcu(domain: Word): Steps<void> {
    yield* wait_srcu_grace_period(domain);
  },
  { address: [0], protects: { what: SRCU_GRACE_PERIOD } },
);
