import { fn, leaf } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { announcement_ends, invalidation_announced } from '../../machine/ops/invalidation.ts';
import { down_write, spin_lock, spin_unlock, up_write } from '../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, read_word } from '../../machine/ops/memory.ts';
import { kmalloc_GFP_KERNEL, non_block_end, non_block_start } from '../../machine/ops/non-block.ts';
import { mmdrop, mmgrab } from '../kernel/fork.ts';
import {
  hlist_add_head_rcu,
  hlist_del_init_rcu,
  hlist_first,
  hlist_next,
  hlist_unhashed_lockless,
  type HlistHead,
} from '../kernel/rculist.ts';
import { srcu_read_lock, srcu_read_unlock, synchronize_srcu } from '../kernel/srcu.ts';
import { mm_drop_all_locks, mm_take_all_locks } from './mm_all_locks.ts';
import {
  mn_itree_inv_end,
  mn_itree_invalidate,
  mn_itree_release,
} from './mmu_interval_notifier.ts';
import { notifiers_of } from './mmu_notifier-boot.ts';
import type { MmuNotifier, MmuNotifierRange } from './mmu_notifier-types.ts';
import type { Mm } from './types.ts';

/**
 * Telling secondary MMUs what the primary one takes away.
 *
 * Guarantee: a page that the primary MMU unmaps is not freed, and not replaced by another, before every
 * subscriber was told; between the return of a start and the call of its end a subscriber maps nothing of the
 * range. So a secondary MMU needs no reference on the pages it maps.
 *
 * Mechanism: every change of entries is bracketed by invalidate_range_start() and _end(), before the
 * page-table lock and after it. Subscribers are found on a list that is walked inside a section of SRCU,
 * because they may sleep. Registering holds every lock that such a bracket lies under (mm_all_locks.ts), so
 * that nobody who is told of an end has missed its start (N2).
 * release() is for the end of the address space: called first, then taken off the list, then a grace period
 * waits for a release() that unregister() is running at the same time (N6). So it may be called twice.
 * The subscription holds mm_count, which keeps the mm_struct, and not mm_users, which keeps the address space
 * and with it the file that the subscription belongs to (N9).
 *
 * Assumes: a start that may fail (a range that is not blockable) belongs to a subscriber without an end.
 *
 * Follows linux v6.12 mm/mmu_notifier.c and include/linux/mmu_notifier.h, except in mn_itree_undo(): where the
 * list refuses a start, v6.12 leaves the count of active invalidations as it is, and who waits for the end of the
 * epoch waits for ever (mmu-notifier-refused shows it). Our form ends what has begun, so that the guarantee of
 * mmu_interval_notifier.ts holds for every caller; that of v6.12 is a patch which takes this one step away.
 */

/** Nobody has registered: the whole cost of a hook is this load. */
export const mm_has_notifiers = leaf(function* mm_has_notifiers(mm: Mm): Steps<boolean> {
  return (yield* read_word(notifiers_of(mm).subscriptions)) !== 0;
});

/** The subscribers, as a list that is walked inside sections of SRCU. */
export function subscribers(mm: Mm): HlistHead<MmuNotifier> {
  const { subs, notifiers } = notifiers_of(mm);
  return { first: subs.first, nodes: [...notifiers.values()] };
}

/** Calls `visit` for every subscriber, inside a section of SRCU. */
const for_each_subscription = fn(
  function* for_each_subscription(
    mm: Mm,
    visit: (subscription: MmuNotifier) => Steps<void>,
  ): Steps<void> {
    const { srcu } = notifiers_of(mm);
    const list = subscribers(mm);
    const id = yield* srcu_read_lock(srcu);
    let subscription = yield* hlist_first(list);
    while (subscription) {
      yield* visit(subscription);
      subscription = yield* hlist_next(list, subscription);
    }
    yield* srcu_read_unlock(srcu, id);
  },
  { hidden: true, onBehalf: true },
);

export function mmu_notifier_range_init(
  mm: Mm,
  start: number,
  end: number,
  blockable: boolean = true,
): MmuNotifierRange {
  return Object.freeze({ mm, start, end, blockable });
}

/** The start of one subscriber. */
const call_range_start = fn(
  function* call_range_start(mn: MmuNotifier, range: MmuNotifierRange): Steps<boolean> {
    if (range.blockable) return yield* mn.ops.invalidate_range_start?.(mn, range) ?? ok();
    yield* non_block_start();
    const started = yield* mn.ops.invalidate_range_start?.(mn, range) ?? ok();
    yield* non_block_end();
    return started;
  },
  { hidden: true, refusal: 'invalidate_range_start() returns -EAGAIN' },
);

function* ok(): Steps<boolean> {
  return true;
}

/** Tells the subscriptions that have an `end` that it is over. */
const mn_hlist_invalidate_end = fn(
  function* mn_hlist_invalidate_end(range: MmuNotifierRange): Steps<void> {
    yield* for_each_subscription(range.mm, function* (mn) {
      if (mn.ops.invalidate_range_end) yield* mn.ops.invalidate_range_end(mn, range);
    });
  },
  { hidden: true },
);

/** One of them could not begin (it has no `end` then): takes back the starts of the others. */
export const mn_hlist_undo = fn(
  function* mn_hlist_undo(range: MmuNotifierRange): Steps<void> {
    yield* mn_hlist_invalidate_end(range);
  },
  { hidden: true },
);

/** The list has refused: the invalidation that the interval subscriptions have begun is over. */
export const mn_itree_undo = fn(
  function* mn_itree_undo(range: MmuNotifierRange): Steps<void> {
    yield* mn_itree_inv_end(range.mm);
  },
  { hidden: true },
);

const mn_hlist_invalidate_range_start = fn(function* mn_hlist_invalidate_range_start(
  range: MmuNotifierRange,
): Steps<boolean> {
  let all = true;
  yield* for_each_subscription(range.mm, function* (mn) {
    if (mn.ops.invalidate_range_start && !(yield* call_range_start(mn, range))) all = false;
  });
  if (!all) yield* mn_hlist_undo(range);
  return all;
});

export const __mmu_notifier_invalidate_range_start = fn(
  function* __mmu_notifier_invalidate_range_start(range: MmuNotifierRange): Steps<boolean> {
    const { subs } = notifiers_of(range.mm);
    const hasItree = (yield* READ_ONCE(subs.has_itree)) === 1;
    if (hasItree && !(yield* mn_itree_invalidate(range))) return false;
    if (!(yield* hlist_first(subscribers(range.mm)))) return true;
    const all = yield* mn_hlist_invalidate_range_start(range);
    if (!all && hasItree) yield* mn_itree_undo(range);
    return all;
  },
  { hidden: true },
);

/** Before the first entry of the range is changed. `false`, if the range is not blockable: leave it alone. */
export const mmu_notifier_invalidate_range_start = fn(function* mmu_notifier_invalidate_range_start(
  range: MmuNotifierRange,
): Steps<boolean> {
  if (!(yield* mm_has_notifiers(range.mm))) return true;
  if (!(yield* __mmu_notifier_invalidate_range_start(range))) return false;
  yield* invalidation_announced(range.mm.pgd, range.start, range.end);
  return true;
});

export const __mmu_notifier_invalidate_range_end = fn(
  function* __mmu_notifier_invalidate_range_end(range: MmuNotifierRange): Steps<void> {
    const { subs } = notifiers_of(range.mm);
    if ((yield* READ_ONCE(subs.has_itree)) === 1) yield* mn_itree_inv_end(range.mm);
    if (yield* hlist_first(subscribers(range.mm))) yield* mn_hlist_invalidate_end(range);
  },
  { hidden: true },
);

/** When the last entry of the range is changed. */
export const mmu_notifier_invalidate_range_end = fn(function* mmu_notifier_invalidate_range_end(
  range: MmuNotifierRange,
): Steps<void> {
  if (!(yield* mm_has_notifiers(range.mm))) return;
  yield* announcement_ends(range.mm.pgd, range.start, range.end);
  yield* __mmu_notifier_invalidate_range_end(range);
});

/** Does one of them say yes? All are asked, or none behind the first who does. */
function* any_young(
  mm: Mm,
  ask: (mn: MmuNotifier) => Steps<boolean> | undefined,
  stops = false,
): Steps<boolean> {
  let young = false;
  yield* for_each_subscription(mm, function* (mn) {
    if (young && stops) return;
    const asked = ask(mn);
    if (asked && (yield* asked)) young = true;
  });
  return young;
}

/** Was one of the pages used through a secondary MMU? Takes the marks, and flushes. */
export const mmu_notifier_clear_flush_young = fn(function* mmu_notifier_clear_flush_young(
  mm: Mm,
  start: number,
  end: number,
): Steps<boolean> {
  if (!(yield* mm_has_notifiers(mm))) return false;
  return yield* any_young(mm, (mn) => mn.ops.clear_flush_young?.(mn, start, end));
});

/** The same without the flush: a page that is used through a stale mark-bearing translation looks old. */
export const mmu_notifier_clear_young = fn(function* mmu_notifier_clear_young(
  mm: Mm,
  start: number,
  end: number,
): Steps<boolean> {
  if (!(yield* mm_has_notifiers(mm))) return false;
  return yield* any_young(mm, (mn) => mn.ops.clear_young?.(mn, start, end));
});

/** The same without taking anything: the first who says yes is enough. */
export const mmu_notifier_test_young = fn(function* mmu_notifier_test_young(
  mm: Mm,
  addr: number,
): Steps<boolean> {
  if (!(yield* mm_has_notifiers(mm))) return false;
  return yield* any_young(mm, (mn) => mn.ops.test_young?.(mn, addr), true);
});

/** Devices that walk the CPU's tables: part of every TLB flush. Under page-table locks. */
export const mmu_notifier_arch_invalidate_secondary_tlbs = fn(
  function* mmu_notifier_arch_invalidate_secondary_tlbs(
    mm: Mm,
    start: number,
    end: number,
  ): Steps<void> {
    if (!(yield* mm_has_notifiers(mm))) return;
    yield* for_each_subscription(mm, function* (mn) {
      if (mn.ops.arch_invalidate_secondary_tlbs)
        yield* mn.ops.arch_invalidate_secondary_tlbs(mn, start, end);
    });
  },
);

/** The subscription keeps the mm_struct: who unregisters lets go of it. */
export const pin_mm = fn(
  function* pin_mm(mm: Mm): Steps<void> {
    yield* mmgrab(mm);
  },
  { hidden: true },
);

/** Publishes an element of the list. All locks are held. */
const add_subscription = fn(
  function* add_subscription(mn: MmuNotifier): Steps<void> {
    const { subs, subscriptions } = notifiers_of(mn.mm);
    if ((yield* READ_ONCE(subscriptions)) === 0) yield* WRITE_ONCE(subscriptions, 1);
    yield* pin_mm(mn.mm);
    yield* WRITE_ONCE(mn.users, 1);
    yield* spin_lock(subs.lock);
    yield* hlist_add_head_rcu(mn, subscribers(mn.mm));
    yield* spin_unlock(subs.lock);
  },
  { hidden: true },
);

/** With mmap_lock held for writing. What it needs is allocated before any other lock is taken (N1). */
export const __mmu_notifier_register = fn(function* __mmu_notifier_register(
  mn: MmuNotifier,
): Steps<void> {
  if (!(yield* mm_has_notifiers(mn.mm))) yield* kmalloc_GFP_KERNEL();
  const locks = yield* mm_take_all_locks(mn.mm);
  yield* add_subscription(mn);
  yield* mm_drop_all_locks(mn.mm, locks);
});

export const mmu_notifier_register = fn(function* mmu_notifier_register(
  mn: MmuNotifier,
): Steps<void> {
  yield* down_write(mn.mm.mmap_lock);
  yield* __mmu_notifier_register(mn);
  yield* up_write(mn.mm.mmap_lock);
});

/** Takes a subscriber off the list, if it is on it. */
export const remove_subscription = fn(
  function* remove_subscription(mn: MmuNotifier): Steps<void> {
    const { subs } = notifiers_of(mn.mm);
    yield* spin_lock(subs.lock);
    yield* hlist_del_init_rcu(mn, subscribers(mn.mm));
    yield* spin_unlock(subs.lock);
  },
  { hidden: true },
);

/** When it returns, no method of the subscriber runs and none will: it may be freed. */
export const mmu_notifier_unregister = fn(function* mmu_notifier_unregister(
  mn: MmuNotifier,
): Steps<void> {
  const { srcu } = notifiers_of(mn.mm);
  if (!(yield* hlist_unhashed_lockless(mn))) {
    const id = yield* srcu_read_lock(srcu); // the end of the address space waits for this release()
    if (mn.ops.release) yield* mn.ops.release(mn);
    yield* srcu_read_unlock(srcu, id);
    yield* remove_subscription(mn);
  }
  yield* synchronize_srcu(srcu); // for methods that others are in
  yield* mmdrop(mn.mm);
});

/** Told first, and then off the list: in between they are told of every page that reclaim takes. */
export const mn_hlist_release = fn(function* mn_hlist_release(mm: Mm): Steps<void> {
  const { srcu, subs } = notifiers_of(mm);
  const list = subscribers(mm);
  const id = yield* srcu_read_lock(srcu);
  let mn = yield* hlist_first(list);
  while (mn) {
    if (mn.ops.release) yield* mn.ops.release(mn); // and only then off the list: unregister() looks there
    mn = yield* hlist_next(list, mn);
  }
  yield* spin_lock(subs.lock);
  for (let first = yield* hlist_first(list); first; first = yield* hlist_first(list)) {
    yield* hlist_del_init_rcu(first, list);
  }
  yield* spin_unlock(subs.lock);
  yield* srcu_read_unlock(srcu, id);
  yield* synchronize_srcu(srcu); // for a release() that unregister() is in
});

/** mmu_notifier_release(): the address space ends. No page of it may be reached when it returns. */
export const mmu_notifier_release = fn(function* mmu_notifier_release(mm: Mm): Steps<void> {
  if (!(yield* mm_has_notifiers(mm))) return;
  const { subs } = notifiers_of(mm);
  if ((yield* READ_ONCE(subs.has_itree)) === 1) yield* mn_itree_release(mm);
  if (yield* hlist_first(subscribers(mm))) yield* mn_hlist_release(mm);
});
