import { fn, leaf, type AnyFn } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Steps } from '../../machine/op.ts';
import {
  begin_callback,
  begin_grace_period,
  end_grace_period,
  enqueue_callback,
  gp_seq_current,
  may_sleep,
  need_grace_period,
  quiescent_state,
  wait_for_gp_seq,
  type CallbackHead,
  type QuiescentRule,
} from '../../machine/ops/rcu-gp.ts';
import { queue_callback_at_once } from '../../machine/ops/rcu.ts';
import { GRACE_PERIOD } from './rcu.ts';

/**
 * RCU, as the machine that keeps the promise of kernel/rcu.ts.
 *
 * Guarantee: the same. A scenario asks for it with `patch(call_rcu, tree_call_rcu)`.
 * Mechanism: grace periods are numbered. Each waits until every CPU has reported one quiescent state since
 * it began, and until every task that left its CPU inside rcu_read_lock() has left the section too. A
 * callback waits for the end of the first grace period that begins after it was queued: `rcu_seq_snap()`
 * names it. So of the segments of a CPU's list, RCU_WAIT are callbacks of the grace period in progress,
 * RCU_NEXT_READY those queued since it began, and the end of each advances them by one.
 * Why it suffices: a section that began before the callback was queued, and so before the grace period, runs
 * with interrupts or preemption off, and its CPU reports nothing before it ends; or its task is inside
 * rcu_read_lock() when the CPU reports, and is remembered.
 * Assumes: every CPU passes through a quiescent state again and again. One that the host has descheduled does
 * not, and the grace period stalls.
 *
 * It promises less than the abstract form in one respect: a grace period may also wait for sections that
 * began after the callback was queued. A reader that waits for such a callback waits for ever.
 * Not modelled: the tree above one leaf, expedited grace periods, offline CPUs, lazy callbacks, and the
 * joining of overlapping sections (rcu_read_unlock() with interrupts off does not prolong the section).
 *
 * Follows linux v6.12 kernel/rcu/tree.c, tree_plugin.h (PREEMPT_RCU), rcu.h (rcu_seq_snap) and
 * rcu_segcblist.c.
 */

const RCU_SEQ_STATE_MASK = 3;
/** What one whole grace period adds to gp_seq. */
const GP = RCU_SEQ_STATE_MASK + 1;

const rcu_seq_current = leaf(function* rcu_seq_current(): Steps<number> {
  return yield* gp_seq_current();
});

/**
 * The value of gp_seq at the end of the first grace period that begins from now on. While one is in
 * progress that is the one after it: CPUs may have reported for it before the caller unlinked (M5.2).
 */
export const rcu_seq_snap = fn(function* rcu_seq_snap(gp_seq: number): Steps<number> {
  return (gp_seq + 2 * RCU_SEQ_STATE_MASK + 1) & ~RCU_SEQ_STATE_MASK;
});

/** What CPUs report: interrupts and preemption are on; a task inside a section is remembered. */
const PREEMPT_RCU: QuiescentRule = { ignoreAtomic: false, ignoreBlocked: false };

/** A CPU's report: a context switch, idle, user mode. `rule` is for variants that get it wrong. */
export const rcu_qs = leaf(function* rcu_qs(rule: QuiescentRule): Steps<void> {
  yield* quiescent_state(rule);
});

const rcu_report_qs_rdp = fn(
  function* rcu_report_qs_rdp(_cpu: number): Steps<void> {
    yield* rcu_qs(PREEMPT_RCU);
  },
  { hidden: true },
);

const rcu_gp_init = leaf(function* rcu_gp_init(gp_seq: number): Steps<void> {
  yield* begin_grace_period(gp_seq - GP, rcu_report_qs_rdp);
});

const rcu_gp_cleanup = leaf(function* rcu_gp_cleanup(gp_seq: number): Steps<void> {
  yield* end_grace_period(gp_seq);
});

/** What the kthread does for the grace period that ends with `gp_seq`. */
const rcu_gp_kthread = fn(
  function* rcu_gp_kthread(gp_seq: number): Steps<void> {
    yield* rcu_gp_init(gp_seq);
    yield* rcu_gp_cleanup(gp_seq);
  },
  { hidden: true },
);

/** The first who needs a grace period wakes the kthread for it. */
const rcu_start_this_gp = leaf(function* rcu_start_this_gp(gp_seq: number): Steps<void> {
  yield* need_grace_period(gp_seq, rcu_gp_kthread);
});

const rcu_do_batch = fn(
  function* rcu_do_batch(gp_seq: number, callback: AnyFn, ...args: unknown[]): Steps<void> {
    yield* begin_callback(gp_seq);
    yield* (callback as unknown as (...args: unknown[]) => Steps<unknown>)(...args);
  },
  { hidden: true },
);

const rcu_segcblist_enqueue = leaf(function* rcu_segcblist_enqueue(
  head: CallbackHead,
  gp_seq: number,
): Steps<void> {
  yield* enqueue_callback(head, gp_seq, rcu_do_batch);
});

/** call_rcu() of the grace-period machine. */
export const tree_call_rcu = fn(
  function* __call_rcu_common(
    callback: AnyFn,
    args: readonly unknown[],
    effect?: (machine: Machine) => void,
  ): Steps<void> {
    const head: CallbackHead = { func: callback, args, effect: effect ?? null };
    const gp_seq = yield* rcu_seq_snap(yield* rcu_seq_current());
    yield* rcu_segcblist_enqueue(head, gp_seq);
    yield* rcu_start_this_gp(gp_seq);
  },
  { protects: { what: GRACE_PERIOD, without: queue_callback_at_once } },
);

const wait_rcu_gp = leaf(function* wait_rcu_gp(gp_seq: number): Steps<void> {
  yield* wait_for_gp_seq(gp_seq);
});

const might_sleep = leaf(function* might_sleep(): Steps<void> {
  yield* may_sleep('synchronize_rcu()');
});

/** synchronize_rcu() of the grace-period machine. */
export const tree_synchronize_rcu = fn(
  function* synchronize_rcu_normal(): Steps<void> {
    yield* might_sleep();
    const gp_seq = yield* rcu_seq_snap(yield* rcu_seq_current());
    yield* rcu_start_this_gp(gp_seq);
    yield* wait_rcu_gp(gp_seq);
  },
  { protects: { what: GRACE_PERIOD } },
);
