import { fn, leaf, type AnyFn } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Steps } from '../../machine/op.ts';
import {
  queue_callback,
  queue_callback_at_once,
  rcu_nest,
  wait_grace_period,
} from '../../machine/ops/rcu.ts';

/**
 * RCU, as the abstract specification.
 *
 * Guarantee: a callback queued at time t runs only after every read-side section that began before t has
 * ended. Sections are rcu_read_lock() regions and, since the consolidation of v4.20, regions with
 * interrupts or preemption off and interrupt handlers.
 * Mechanism: queueing takes a snapshot of the open sections; the callback waits for the end of each of
 * them, and for no section that begins later.
 * Why here: this is what callers may rely on and no more. A vCPU that the host has descheduled ends no
 * section, so a grace period simply waits for it: that is what makes the argument of the October 2022
 * thread work.
 * Not provided: no exclusion, no re-validation, no TLB flush, and no wait by tlb_remove_table_sync_one()
 * for rcu_read_lock() sections.
 *
 * Follows linux v6.12 kernel/rcu/tree.c (call_rcu, synchronize_rcu) and Documentation/RCU.
 */

/** Opens a read-side section of this task. Sections nest. */
export const rcu_read_lock = leaf(
  function* rcu_read_lock(): Steps<void> {
    yield* rcu_nest(1);
  },
  { protects: { what: 'rcu_read_lock()', opens: 'rcu_read_lock' } },
);

export const rcu_read_unlock = leaf(
  function* rcu_read_unlock(): Steps<void> {
    yield* rcu_nest(-1);
  },
  { closes: 'rcu_read_lock' },
);

/** What `why` takes away of call_rcu() and synchronize_rcu(), in whatever form. */
export const GRACE_PERIOD = 'the grace period';

/** Runs `callback(...args)` after a grace period. `effect`: bookkeeping of the same step (life states). */
export const call_rcu = leaf(
  function* call_rcu(
    callback: AnyFn,
    args: readonly unknown[],
    effect?: (machine: Machine) => void,
  ): Steps<void> {
    yield* queue_callback(callback, args, effect);
  },
  { protects: { what: GRACE_PERIOD, without: queue_callback_at_once } },
);

/** Waits for a grace period. May sleep; inside a read-side section it would wait for itself. */
export const synchronize_rcu = fn(
  function* synchronize_rcu(): Steps<void> {
    yield* wait_grace_period();
  },
  { protects: { what: GRACE_PERIOD } },
);
