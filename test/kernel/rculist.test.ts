import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import {
  hlist_add_head_rcu,
  hlist_del_init_rcu,
  hlist_first,
  hlist_next,
  hlist_unhashed_lockless,
  type HlistHead,
  type HlistNode,
} from '../../src/kernel/kernel/rculist.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { build } from '../zoo/program.ts';

/** A list of three elements, numbered from 1 by their names. */

type Body = (list: HlistHead, nodes: readonly HlistNode[]) => Steps<unknown>;

const NAMES = ['first', 'n1', 'p1', 'n2', 'p2', 'n3', 'p3'] as const;

type Begin = Readonly<Partial<Record<(typeof NAMES)[number], number>>>;

/** The second element, and then the first. */
const BOTH: Begin = { first: 2, p2: 1, n2: 1, p1: 3 };

/** What the last thread returns, in every run. */
function results(begin: Begin, bodies: readonly Body[]): string[] {
  const empty = Object.fromEntries(NAMES.map((name) => [name, 0]));
  const words: Record<string, number> = { ...empty, ...begin };
  const program = build({
    words,
    threads: (w) => {
      const word = (name: string): Word => w[name]!;
      const nodes = [1, 2, 3].map((n) => ({ next: word(`n${n}`), pprev: word(`p${n}`) }));
      return bodies.map((body) => () => body({ first: word('first'), nodes }, nodes));
    },
  });
  const all = new Set<string>();
  explore(program, { ended: ({ nodes }) => all.add(String(nodes[bodies.length - 1]?.result)) });
  return [...all].sort();
}

function* walk(list: HlistHead): Steps<string> {
  const met: number[] = [];
  for (let at = yield* hlist_first(list); at; at = yield* hlist_next(list, at)) {
    met.push(list.nodes.indexOf(at) + 1);
  }
  return met.join();
}

function* addAll(list: HlistHead, nodes: readonly HlistNode[]): Steps<void> {
  for (const node of nodes) yield* hlist_add_head_rcu(node, list);
}

test('elements are added at the head and removed anywhere', () => {
  for (const [at, rest] of [
    [0, '3,2'],
    [1, '3,1'],
    [2, '2,1'],
  ] as const) {
    const body: Body = function* (list, nodes) {
      yield* addAll(list, nodes);
      const before = yield* walk(list);
      yield* hlist_del_init_rcu(nodes[at]!, list);
      yield* hlist_del_init_rcu(nodes[at]!, list); // no effect the second time
      return `${before} ${yield* walk(list)} ${yield* hlist_unhashed_lockless(nodes[at]!)}`;
    };
    expect(results({}, [body])).toEqual([`3,2,1 ${rest} true`]);
  }
});

test('a reader meets what is on the list all the time, and maybe what comes or goes', () => {
  const change: Body = function* (list, nodes) {
    yield* hlist_del_init_rcu(nodes[0]!, list);
    yield* hlist_add_head_rcu(nodes[2]!, list);
  };
  const seen = results(BOTH, [change, walk]);
  expect(seen).toEqual(['2', '2,1', '3,2']);
});

test('who stands on an element that is removed finds the way on', () => {
  const stands: Body = function* (list, nodes) {
    const on = yield* hlist_first(list);
    yield* hlist_del_init_rcu(nodes[1]!, list);
    return nodes.indexOf((yield* hlist_next(list, on!))!) + 1;
  };
  expect(results(BOTH, [stands])).toEqual(['1']);
});
