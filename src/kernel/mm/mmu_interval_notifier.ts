import { fn, leaf } from '../../machine/fn.ts';
import { spin_until } from '../../machine/ops/control.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, spin_lock, spin_unlock, up_write } from '../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, store_word } from '../../machine/ops/memory.ts';
import { kmalloc_GFP_KERNEL } from '../../machine/ops/non-block.ts';
import { no } from '../../machine/protection.ts';
import { mmdrop, mmgrab } from '../kernel/fork.ts';
import {
  hlist_add_head_rcu,
  hlist_del_init_rcu,
  hlist_first,
  hlist_next,
  hlist_unhashed_lockless,
  type HlistHead,
} from '../kernel/rculist.ts';
import { mm_drop_all_locks, mm_take_all_locks } from './mm_all_locks.ts';
import { notifiers_of } from './mmu_notifier-boot.ts';
import type { MmuIntervalNotifier, MmuNotifierRange } from './mmu_notifier-types.ts';
import type { Mm } from './types.ts';

/**
 * Interval notifiers: a mirror of a part of the address space, kept by collisions and retries.
 *
 * Guarantee: what a driver has read from the primary tables between mmu_interval_read_begin() and a
 * mmu_interval_read_retry() that answers no, under the lock that invalidate() takes, may be given to its
 * device: an invalidation that made it wrong is still to come, and will wait for that lock.
 *
 * Mechanism: the sequence of the address space is even while nothing is being invalidated, and odd from the
 * first invalidation that meets a subscription until no invalidation is going on (an epoch). Each invalidation
 * writes the odd number into the subscriptions it meets, under the driver's lock. A reader waits while his
 * subscription has the number of the present epoch, and has collided if it has got another one since.
 * Why it suffices: the number that a reader takes is of an epoch that is over. Whoever invalidates later writes
 * a new one under the driver's lock: before the reader's test, which fails, or after he has let go of it, and
 * then the invalidation takes away what he gave to the device.
 * While the sequence is odd the tree is walked without a lock, and insertions and removals are put off to the end
 * of the epoch (I6); whoever removes waits for that, and must hold no lock that invalidate() takes (I8).
 *
 * The tree is a list here. Follows linux v6.12 mm/mmu_notifier.c.
 */

/** The subscriptions, as who walks the tree finds them. */
export function tree_of(mm: Mm): HlistHead<MmuIntervalNotifier> {
  const { subs, intervals } = notifiers_of(mm);
  return { first: subs.itree, nodes: [...intervals.values()] };
}

function meets({ start, end }: MmuNotifierRange, sub: MmuIntervalNotifier): boolean {
  return sub.start < end && start < sub.end;
}

/** interval_tree_iter_first() and _next(): the next subscription that the range meets. */
const next_in_range = fn(
  function* next_in_range(
    range: MmuNotifierRange,
    from: MmuIntervalNotifier | null,
  ): Steps<MmuIntervalNotifier | null> {
    const tree = tree_of(range.mm);
    let sub = from ? yield* hlist_next(tree, from) : yield* hlist_first(tree);
    while (sub && !meets(range, sub)) sub = yield* hlist_next(tree, sub);
    return sub;
  },
  { hidden: true },
);

/** The first subscription that the range meets, and the number of the epoch, which begins with the first such. */
const mn_itree_inv_start_range = fn(function* mn_itree_inv_start_range(
  range: MmuNotifierRange,
): Steps<{ readonly sub: MmuIntervalNotifier | null; readonly seq: number }> {
  const { subs } = notifiers_of(range.mm);
  yield* spin_lock(subs.lock);
  yield* WRITE_ONCE(
    subs.active_invalidate_ranges,
    (yield* READ_ONCE(subs.active_invalidate_ranges)) + 1,
  );
  const sub = yield* next_in_range(range, null);
  let seq = yield* READ_ONCE(subs.invalidate_seq);
  if (sub && seq % 2 === 0) {
    seq += 1;
    yield* WRITE_ONCE(subs.invalidate_seq, seq);
  }
  yield* spin_unlock(subs.lock);
  return { sub, seq };
});

/** Does the present epoch end with this invalidation? */
const mn_itree_is_over = fn(
  function* mn_itree_is_over(mm: Mm): Steps<boolean> {
    return (yield* READ_ONCE(notifiers_of(mm).subs.active_invalidate_ranges)) === 0;
  },
  { hidden: true, protects: { what: 'the count of active invalidations', without: yes } },
);

function* yes(): Steps<boolean> {
  return true;
}

/** Puts into the tree what waits for it, and takes out what waits for that. */
const mn_itree_finish_pass = fn(
  function* mn_itree_finish_pass(mm: Mm): Steps<void> {
    const tree = tree_of(mm);
    for (const sub of tree.nodes) {
      if ((yield* READ_ONCE(sub.deferred)) === 0) continue;
      yield* WRITE_ONCE(sub.deferred, 0);
      if (yield* hlist_unhashed_lockless(sub)) yield* hlist_add_head_rcu(sub, tree);
      else yield* hlist_del_init_rcu(sub, tree);
    }
  },
  { hidden: true },
);

/** One invalidation is over. With the last one the epoch ends. */
export const mn_itree_inv_end = fn(function* mn_itree_inv_end(mm: Mm): Steps<void> {
  const { subs } = notifiers_of(mm);
  yield* spin_lock(subs.lock);
  const active = (yield* READ_ONCE(subs.active_invalidate_ranges)) - 1;
  yield* WRITE_ONCE(subs.active_invalidate_ranges, active);
  const seq = yield* READ_ONCE(subs.invalidate_seq);
  if ((yield* mn_itree_is_over(mm)) && seq % 2 === 1) {
    yield* WRITE_ONCE(subs.invalidate_seq, seq + 1);
    yield* mn_itree_finish_pass(mm);
  }
  yield* spin_unlock(subs.lock); // and wakes who waits for the sequence
});

/** Calls invalidate() of all subscriptions that the range meets. `false`: one would have had to block. */
export const mn_itree_invalidate = fn(
  function* mn_itree_invalidate(range: MmuNotifierRange): Steps<boolean> {
    const { sub: first, seq } = yield* mn_itree_inv_start_range(range);
    for (let sub = first; sub; sub = yield* next_in_range(range, sub)) {
      if (yield* sub.ops.invalidate(sub, range, seq)) continue;
      yield* mn_itree_inv_end(range.mm); // the caller gives up, and will not say that it is over
      return false;
    }
    return true;
  },
  { refusal: 'mn_itree_invalidate() returns -EAGAIN' },
);

/** The end of the address space is an invalidation of all of it. */
export const mn_itree_release = fn(function* mn_itree_release(mm: Mm): Steps<void> {
  const range = Object.freeze({ mm, start: 0, end: Number.MAX_SAFE_INTEGER, blockable: true });
  yield* mn_itree_invalidate(range);
  yield* mn_itree_inv_end(mm);
});

/** For invalidate(), under the lock that the driver's readers hold, always. */
export const mmu_interval_set_seq = leaf(function* mmu_interval_set_seq(
  sub: MmuIntervalNotifier,
  cur_seq: number,
): Steps<void> {
  yield* store_word(sub.invalidate_seq, cur_seq);
});

/** Waits while the subscription is being invalidated: until the epoch whose number it has is over. */
const wait_for_epoch = fn(
  function* wait_for_epoch(mm: Mm, seq: number): Steps<void> {
    yield* spin_until([notifiers_of(mm).subs.invalidate_seq], (now) => now !== seq);
  },
  { hidden: true, protects: { what: 'the wait of mmu_interval_read_begin()' } },
);

/** Begins a reading of the primary tables; returns what mmu_interval_read_retry() compares. May sleep. */
export const mmu_interval_read_begin = fn(function* mmu_interval_read_begin(
  sub: MmuIntervalNotifier,
): Steps<number> {
  const { subs } = notifiers_of(sub.mm);
  yield* spin_lock(subs.lock);
  const seq = yield* READ_ONCE(sub.invalidate_seq);
  const isInvalidating = seq === (yield* READ_ONCE(subs.invalidate_seq));
  yield* spin_unlock(subs.lock);
  if (isInvalidating) yield* wait_for_epoch(sub.mm, seq);
  return seq;
});

/** Under the driver's lock: has an invalidation come since? */
export const mmu_interval_read_retry = fn(
  function* mmu_interval_read_retry(sub: MmuIntervalNotifier, seq: number): Steps<boolean> {
    return (yield* READ_ONCE(sub.invalidate_seq)) !== seq;
  },
  { protects: { what: 'mmu_interval_read_retry()', without: no } },
);

/** Without the lock, to give up early: a yes is true, a no means nothing. */
export const mmu_interval_check_retry = fn(function* mmu_interval_check_retry(
  sub: MmuIntervalNotifier,
  seq: number,
): Steps<boolean> {
  return (yield* READ_ONCE(sub.invalidate_seq)) !== seq;
});

/** Under the lock of the subscriptions: puts the subscription into the tree, now or when the epoch is over. */
export const __mmu_interval_notifier_insert = fn(function* __mmu_interval_notifier_insert(
  sub: MmuIntervalNotifier,
): Steps<void> {
  const { subs } = notifiers_of(sub.mm);
  yield* spin_lock(subs.lock);
  let seq = yield* READ_ONCE(subs.invalidate_seq);
  if ((yield* READ_ONCE(subs.active_invalidate_ranges)) > 0) {
    if (seq % 2 === 1) yield* WRITE_ONCE(sub.deferred, 1);
    else {
      seq += 1; // from here on the invalidation that is going on is one that meets a subscription
      yield* WRITE_ONCE(subs.invalidate_seq, seq);
      yield* hlist_add_head_rcu(sub, tree_of(sub.mm));
    }
    yield* WRITE_ONCE(sub.invalidate_seq, seq);
  } else {
    yield* WRITE_ONCE(sub.invalidate_seq, seq - 1); // odd, and of no epoch that is still open
    yield* hlist_add_head_rcu(sub, tree_of(sub.mm));
  }
  yield* spin_unlock(subs.lock);
});

/** mmu_interval_notifier_insert(): registers the address space too, if nobody has. */
export const mmu_interval_notifier_insert = fn(function* mmu_interval_notifier_insert(
  sub: MmuIntervalNotifier,
): Steps<void> {
  const { mm } = sub;
  const { subs, subscriptions } = notifiers_of(mm);
  if ((yield* READ_ONCE(subscriptions)) === 0 || (yield* READ_ONCE(subs.has_itree)) === 0) {
    yield* down_write(mm.mmap_lock); // mmu_notifier_register(NULL, mm)
    yield* kmalloc_GFP_KERNEL();
    const locks = yield* mm_take_all_locks(mm);
    yield* WRITE_ONCE(subs.has_itree, 1);
    yield* WRITE_ONCE(subscriptions, 1);
    yield* mm_drop_all_locks(mm, locks);
    yield* up_write(mm.mmap_lock);
  }
  yield* mmgrab(mm);
  yield* __mmu_interval_notifier_insert(sub);
});

/** Takes the subscription out of the tree, or says after which epoch it is out. */
export const mn_itree_remove = fn(
  function* mn_itree_remove(sub: MmuIntervalNotifier): Steps<number> {
    const { subs } = notifiers_of(sub.mm);
    const seq = yield* READ_ONCE(subs.invalidate_seq);
    if (seq % 2 === 0) {
      yield* hlist_del_init_rcu(sub, tree_of(sub.mm));
      return 0;
    }
    if (yield* hlist_unhashed_lockless(sub)) {
      yield* WRITE_ONCE(sub.deferred, 0); // it was never in the tree
      return 0;
    }
    yield* WRITE_ONCE(sub.deferred, 1);
    return seq;
  },
  { hidden: true },
);

/** When it returns, invalidate() does not run and will not: the subscription may be freed. May sleep. */
export const mmu_interval_notifier_remove = fn(function* mmu_interval_notifier_remove(
  sub: MmuIntervalNotifier,
): Steps<void> {
  const { subs } = notifiers_of(sub.mm);
  yield* spin_lock(subs.lock);
  const seq = yield* mn_itree_remove(sub);
  yield* spin_unlock(subs.lock);
  if (seq !== 0) yield* wait_until_removed(sub.mm, seq);
  yield* mmdrop(sub.mm);
});

/** The epoch is over, and so is what is done at its end: the lock is taken once more. */
const wait_until_removed = fn(
  function* wait_until_removed(mm: Mm, seq: number): Steps<void> {
    const { subs } = notifiers_of(mm);
    yield* spin_until([subs.invalidate_seq], (now) => now !== seq);
    yield* spin_lock(subs.lock);
    yield* spin_unlock(subs.lock);
  },
  { hidden: true, protects: { what: 'the wait of mmu_interval_notifier_remove()' } },
);
