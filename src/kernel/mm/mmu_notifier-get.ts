import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, spin_lock, spin_unlock, up_write } from '../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../machine/ops/memory.ts';
import { mmdrop } from '../kernel/fork.ts';
import { hlist_del_init_rcu, hlist_first, hlist_next } from '../kernel/rculist.ts';
import { call_srcu } from '../kernel/srcu.ts';
import { __mmu_notifier_register, mm_has_notifiers, subscribers } from './mmu_notifier.ts';
import { notifiers_of } from './mmu_notifier-boot.ts';
import type { MmuNotifier, MmuNotifierOps } from './mmu_notifier-types.ts';
import type { Mm } from './types.ts';

/**
 * Subscriptions that are shared: one for each address space and driver, with a count of its users.
 *
 * Guarantee: mmu_notifier_get() returns a subscription that lives until its user puts it; there is one for the
 * methods of a driver at a time. When it is freed, nobody is in a method of it or stands on it.
 * Mechanism: the count goes up and down under the lock of the list, and the last user takes the subscription off
 * the list under the same lock: whoever finds it there has found a count above zero. It is freed by call_srcu(),
 * because walks of the list may have found it before. mmap_lock, held for writing, keeps two first users apart.
 * Not provided: ->release(). The address space may end with the subscription off the list and not freed yet, so
 * a driver that puts its subscription has taken its mappings away itself.
 *
 * Follows linux v6.12 mm/mmu_notifier.c (mmu_notifier_get_locked, find_get_mmu_notifier, mmu_notifier_put).
 */

/** The subscription of these methods, with one more user; null: there is none. */
export const find_get_mmu_notifier = fn(function* find_get_mmu_notifier(
  mm: Mm,
  ops: MmuNotifierOps,
): Steps<MmuNotifier | null> {
  const { subs } = notifiers_of(mm);
  yield* spin_lock(subs.lock);
  const found = yield* subscription_of(mm, ops);
  if (found) yield* WRITE_ONCE(found.users, (yield* READ_ONCE(found.users)) + 1);
  yield* spin_unlock(subs.lock);
  return found;
});

/** Walks the list, under its lock. */
export const subscription_of = fn(
  function* subscription_of(mm: Mm, ops: MmuNotifierOps): Steps<MmuNotifier | null> {
    const list = subscribers(mm);
    let mn = yield* hlist_first(list);
    while (mn && mn.ops !== ops) mn = yield* hlist_next(list, mn);
    return mn;
  },
  { hidden: true },
);

/** mmu_notifier_get(): one more user of the subscription with the methods of `fresh`, which is the first itself. */
export const mmu_notifier_get = fn(function* mmu_notifier_get(
  fresh: MmuNotifier,
): Steps<MmuNotifier> {
  const { mm, ops } = fresh;
  yield* down_write(mm.mmap_lock);
  const known = (yield* mm_has_notifiers(mm)) ? yield* find_get_mmu_notifier(mm, ops) : null;
  if (!known) yield* __mmu_notifier_register(fresh); // ops->alloc_notifier()
  yield* up_write(mm.mmap_lock);
  return known ?? fresh;
});

const mmu_notifier_free_rcu = fn(function* mmu_notifier_free_rcu(mn: MmuNotifier): Steps<void> {
  if (mn.ops.free_notifier) yield* mn.ops.free_notifier(mn);
  yield* mmdrop(mn.mm);
});

/** The last user goes: the subscription is freed after a grace period. Nobody promises that release() ran. */
export const mmu_notifier_put = fn(function* mmu_notifier_put(mn: MmuNotifier): Steps<void> {
  const { subs, srcu } = notifiers_of(mn.mm);
  yield* spin_lock(subs.lock);
  const users = (yield* READ_ONCE(mn.users)) - 1;
  yield* WRITE_ONCE(mn.users, users);
  if (users === 0) yield* hlist_del_init_rcu(mn, subscribers(mn.mm));
  yield* spin_unlock(subs.lock);
  if (users === 0) yield* call_srcu(srcu, mmu_notifier_free_rcu, [mn]);
});
