import { Coroutine, type TrieNode } from '../machine/coroutine.ts';
import type { Program, Run } from './run.ts';

/**
 * Are actors what the tries take them for: functions of what they received, and of nothing else?
 *
 * Each alone always looks like one. Two that keep a variable outside themselves, one to write and the other to
 * see, behave differently once their generators are run in another order (E303). So the actors are begun
 * backwards before they are begun in earnest, and some finished runs are led again with new generators: all
 * together in the run's order, then one actor after the other, forwards and backwards, begun when it is its
 * turn or all at once. What they receive is known from the run, so any order will do.
 */

/** Begins the actors, the last one first. The function returned begins them again, and compares. */
export function bornBackwards({ actors, patches, machine }: Program): () => void {
  const roots = [...actors].reverse().map(({ actor, begin }) => {
    const statistics = { nodes: 0, generators: 0 };
    return new Coroutine(actor.name, begin, {
      patches,
      cpu: actor.cpu,
      arch: machine.arch,
      traced: true,
      statistics,
    }).root;
  });
  return () => {
    for (const root of roots) root.coroutine.relive()(root);
  };
}

/** Ways to lead the present run once more. */
const ORDERS: readonly ((run: Run) => void)[] = [
  inRunsOrder,
  (run) => inTurn(run, run.order),
  (run) => inTurn(run, [...run.order].reverse()),
  (run) => begunTogether(run, run.order),
  (run) => begunTogether(run, [...run.order].reverse()),
];

/** Of so many runs, all orders are tried; of later ones, which are much like them, one after the other. */
const ALL_ORDERS = 12;

/** Leads the present run once more; it is the `nth` of its search. */
export function verifyTogether(run: Run, nth: number): void {
  const orders = nth <= ALL_ORDERS ? ORDERS : ORDERS.filter((_, at) => at === nth % ORDERS.length);
  for (const lead of orders) lead(run);
}

function inTurn(run: Run, order: readonly number[]): void {
  for (const index of order) life(run, index)();
}

function begunTogether(run: Run, order: readonly number[]): void {
  const begun = order.map((index) => life(run, index));
  for (const lead of begun) lead();
}

/** Begins an actor; what is returned leads it to where it is in the run. */
function life(run: Run, index: number): () => void {
  const path: TrieNode[] = [];
  for (let at = run.nodes[index] ?? null; at; at = at.parent) path.push(at);
  const root = path.pop() as TrieNode;
  const live = root.coroutine.relive();
  live(root);
  return () => {
    for (const node of path.reverse()) live(node);
  };
}

function inRunsOrder(run: Run): void {
  const lives = new Map<number, (expected: TrieNode) => void>();
  const born = (index: number): void => {
    const { root } = (run.nodes[index] as TrieNode).coroutine;
    const live = root.coroutine.relive();
    live(root);
    lives.set(index, live);
  };
  for (const { actor } of run.actors) born(actor.index);
  for (let step = 0; step < run.depth; step++) {
    const index = run.actorAt[step] as number;
    const after = nodeAfter(run, step, index);
    if (after !== run.nodeBefore(step)) lives.get(index)?.(after);
    for (const { actor } of run.spawnedAt[step] ?? []) born(actor.index);
  }
}

/** Where a step has taken its actor. */
function nodeAfter(run: Run, step: number, index: number): TrieNode {
  for (let later = step + 1; later < run.depth; later++) {
    if (run.actorAt[later] === index) return run.nodeBefore(later);
  }
  return run.nodes[index] as TrieNode;
}
