import { fn } from '../../machine/fn.ts';
import type { Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE, WRITE_ONCE } from '../../machine/ops/memory.ts';

/**
 * Lists that readers walk without the lock of those who change them.
 *
 * Guarantee: a reader inside a read-side section meets every element that was on the list all the time. One
 * that is removed meanwhile keeps its `next`, so whoever stands on it finds the way back.
 * Not provided: that the element still exists. Whoever frees it waits for the readers first.
 *
 * Pointers are numbers: 0 is NULL, n the n-th element of `nodes`, all of which exist when the scenario begins.
 * `pprev` is where the pointer to the element is: 0 nowhere (unhashed), 1 in the head, n + 1 in element n.
 *
 * Follows linux v6.12 include/linux/rculist.h and list.h.
 */
export interface HlistNode {
  readonly next: Word;
  readonly pprev: Word;
}

export interface HlistHead<N extends HlistNode = HlistNode> {
  readonly first: Word;
  readonly nodes: readonly N[];
}

const HEAD = 1;

function placeOf({ first, nodes }: HlistHead, pprev: number): Word {
  return pprev === HEAD ? first : (nodes[pprev - 2] as HlistNode).next;
}

/** hlist_empty(), and the first element. */
export const hlist_first = fn(
  function* hlist_first<N extends HlistNode>(head: HlistHead<N>): Steps<N | null> {
    return head.nodes[(yield* READ_ONCE(head.first)) - 1] ?? null;
  },
  { hidden: true },
) as <N extends HlistNode>(head: HlistHead<N>) => Steps<N | null>;

/** The element after `node`, also of one that was removed since. */
export const hlist_next = fn(
  function* hlist_next<N extends HlistNode>(head: HlistHead<N>, node: N): Steps<N | null> {
    return head.nodes[(yield* READ_ONCE(node.next)) - 1] ?? null;
  },
  { hidden: true },
) as <N extends HlistNode>(head: HlistHead<N>, node: N) => Steps<N | null>;

/** hlist_unhashed_lockless(): is the element on no list? */
export const hlist_unhashed_lockless = fn(function* hlist_unhashed_lockless(
  node: HlistNode,
): Steps<boolean> {
  return (yield* READ_ONCE(node.pprev)) === 0;
});

/** Publishes an element at the head. Under the lock of those who change the list. */
export const hlist_add_head_rcu = fn(function* hlist_add_head_rcu(
  node: HlistNode,
  head: HlistHead,
): Steps<void> {
  const first = yield* READ_ONCE(head.first);
  const number = head.nodes.indexOf(node) + 1;
  yield* WRITE_ONCE(node.next, first);
  yield* WRITE_ONCE(node.pprev, HEAD);
  yield* WRITE_ONCE(head.first, number); // rcu_assign_pointer(): what was stored before is seen with it
  const second = head.nodes[first - 1];
  if (second) yield* WRITE_ONCE(second.pprev, number + 1);
});

/** Takes an element off, which keeps its `next`. Under the lock of those who change the list. */
export const hlist_del_init_rcu = fn(function* hlist_del_init_rcu(
  node: HlistNode,
  head: HlistHead,
): Steps<void> {
  const pprev = yield* READ_ONCE(node.pprev);
  if (pprev === 0) return;
  const next = yield* READ_ONCE(node.next);
  const pprev_next = placeOf(head, pprev); // *pprev
  yield* WRITE_ONCE(pprev_next, next);
  const after = head.nodes[next - 1];
  if (after) yield* WRITE_ONCE(after.pprev, pprev);
  yield* WRITE_ONCE(node.pprev, 0);
});
