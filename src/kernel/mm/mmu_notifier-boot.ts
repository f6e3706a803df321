import { counts_open } from '../../machine/balance.ts';
import { watched } from '../../machine/invalidations.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Word } from '../../machine/memory.ts';
import type {
  MmNotifiers,
  MmuIntervalNotifier,
  MmuIntervalNotifierOps,
  MmuNotifier,
  MmuNotifierOps,
  SubscriptionField,
} from './mmu_notifier-types.ts';
import { kmem_cache_create, new_object } from './slab.ts';
import type { Mm } from './types.ts';

/** MMU notifiers as a scenario finds them. Nothing here is a step. */

const SUBSCRIPTIONS: readonly SubscriptionField[] = [
  'first',
  'has_itree',
  'lock',
  'invalidate_seq',
  'active_invalidate_ranges',
  'itree',
];

/** Words that there is one of for all address spaces. */
function global(machine: Machine, name: string): Word {
  const key = `global ${name}`;
  const known = machine.objects.get(key) as Word | undefined;
  if (known) return known;
  const word = machine.memory.variable(name);
  machine.objects.set(key, word);
  return word;
}

/** What an address space has for them: nobody has registered. Its task is the one user. */
export function new_notifiers(machine: Machine, name: string): MmNotifiers {
  const { memory } = machine;
  const cache = kmem_cache_create('mmu_notifier_subscriptions', SUBSCRIPTIONS);
  const subs = new_object(machine, cache, `subscriptions(${name})`, { invalidate_seq: 2 });
  counts_open(machine, subs.active_invalidate_ranges);
  const counts = kmem_cache_create('mm_struct', ['mm_users', 'mm_count']);
  const object = new_object(machine, counts, name, { mm_users: 1, mm_count: 1 });
  const published = { 0: 'NULL', 1: 'subscriptions' };
  return Object.freeze({
    subscriptions: memory.variable(`${name}->notifier_subscriptions`, 0, published),
    subs,
    cache,
    mm_users: object.mm_users,
    mm_count: object.mm_count,
    mm_struct: { object, cache: counts },
    srcu: global(machine, 'srcu'),
    mm_all_locks_mutex: global(machine, 'mm_all_locks_mutex'),
    notifiers: new Map<number, MmuNotifier>(),
    intervals: new Map<number, MmuIntervalNotifier>(),
  });
}

/** What the address space has for notifiers; it is there with CONFIG_MMU_NOTIFIER only. */
export function notifiers_of({ notifiers, name }: Mm): MmNotifiers {
  if (notifiers) return notifiers;
  throw new RangeError(`${name} has no MMU notifiers: set config: { MMU_NOTIFIER: true }`);
}

/** Numbers them from 1, in the order in which the scenario makes them. */
function add<T>(all: ReadonlyMap<number, T>, one: T): void {
  (all as Map<number, T>).set(all.size + 1, one);
}

/** From now on the rule of sanitizers/untold.ts holds for the address space, while somebody subscribes. */
function watch(machine: Machine, mm: Mm): void {
  const { first, itree } = notifiers_of(mm).subs;
  const { name, pgd: root, mapped } = mm;
  watched(machine).set(root, { name, root, mapped, subscribers: [first, itree] });
}

/** A notifier of `mm` that is not registered yet. */
export function new_mmu_notifier(
  machine: Machine,
  mm: Mm,
  name: string,
  ops: MmuNotifierOps,
): MmuNotifier {
  const cache = kmem_cache_create('mmu_notifier', ['next', 'pprev', 'users']);
  const object = new_object(machine, cache, name, {});
  const { next, pprev, users } = object;
  const mn = Object.freeze({ name, mm, ops, next, pprev, users, object, cache });
  add(notifiers_of(mm).notifiers, mn);
  watch(machine, mm);
  return mn;
}

/** The same, registered. */
export function registered(machine: Machine, mn: MmuNotifier): MmuNotifier {
  const { notifiers, subs, subscriptions, mm_count } = notifiers_of(mn.mm);
  const { memory } = machine;
  const number = [...notifiers.values()].indexOf(mn) + 1;
  const first = memory.load(subs.first);
  memory.store(mn.next, first);
  memory.store(mn.pprev, 1);
  const second = notifiers.get(first);
  if (second) memory.store(second.pprev, number + 1);
  memory.store(mn.users, 1);
  memory.store(subs.first, number);
  memory.store(subscriptions, 1);
  memory.store(mm_count, memory.load(mm_count) + 1);
  return mn;
}

/** An interval notifier of [start, start + length) that is not inserted yet. */
export function new_interval_notifier(
  machine: Machine,
  mm: Mm,
  name: string,
  { start, length }: { readonly start: number; readonly length: number },
  ops: MmuIntervalNotifierOps,
): MmuIntervalNotifier {
  const fields = ['next', 'pprev', 'invalidate_seq', 'deferred'] as const;
  const cache = kmem_cache_create('mmu_interval_notifier', fields);
  const object = new_object(machine, cache, name, {});
  const { next, pprev, invalidate_seq, deferred } = object;
  const words = { next, pprev, invalidate_seq, deferred };
  const sub = Object.freeze({ name, mm, ops, start, end: start + length, ...words, object, cache });
  add(notifiers_of(mm).intervals, sub);
  watch(machine, mm);
  return sub;
}

/** The same, inserted while nothing was being invalidated. */
export function inserted(machine: Machine, sub: MmuIntervalNotifier): MmuIntervalNotifier {
  const { intervals, subs, subscriptions, mm_count } = notifiers_of(sub.mm);
  const { memory } = machine;
  const number = [...intervals.values()].indexOf(sub) + 1;
  const first = memory.load(subs.itree);
  memory.store(sub.next, first);
  memory.store(sub.pprev, 1);
  const second = intervals.get(first);
  if (second) memory.store(second.pprev, number + 1);
  memory.store(sub.invalidate_seq, memory.load(subs.invalidate_seq) - 1);
  memory.store(subs.itree, number);
  memory.store(subs.has_itree, 1);
  memory.store(subscriptions, 1);
  memory.store(mm_count, memory.load(mm_count) + 1);
  return sub;
}
