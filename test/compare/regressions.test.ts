import { expect, test } from 'vitest';
import { compare, explain } from './compare.ts';
import type { ActorSpec, Spec, Stmt } from './spec.ts';

/** Programs on which reduced exploration has once lost something, as small as they could be made. */

function actor(cpu: number, ...body: Stmt[]): ActorSpec {
  return { cpu, kind: cpu < 0 ? 'host' : 'task', shared: false, daemon: false, body };
}

function observer(...body: Stmt[]): ActorSpec {
  return { cpu: -1, kind: 'observer', shared: false, daemon: true, body };
}

const nothing: Spec = {
  family: 'regression',
  model: 'sc',
  words: [0, 0, 0],
  locks: 0,
  pointers: 1,
  cpus: [
    { virtual: false, root: null },
    { virtual: false, root: null },
    { virtual: false, root: null },
  ],
  actors: [],
  handlers: [[], []],
  checks: [],
  mapped: [],
  pointing: [null],
};

const constant = (plus: number): { received: boolean; plus: number } => ({ received: false, plus });
const physical = (...roots: (string | null)[]): Spec['cpus'] =>
  roots.map((root) => ({ virtual: false, root }));

const lost: readonly (readonly [story: string, spec: Spec])[] = [
  [
    'a race that a sleeper leads to in the first complete run, and in no later one',
    {
      ...nothing,
      words: [0, 0, 1],
      cpus: physical(null, null, null, null),
      actors: [
        actor(0, { op: 'add', word: 0, value: constant(1) }),
        actor(1, { op: 'add', word: 0, value: constant(1) }),
        actor(
          2,
          { op: 'xchg', word: 2, value: { received: true, plus: 1 } },
          { op: 'read', word: 2 },
          { op: 'if', body: [], otherwise: [{ op: 'read', word: 0 }] },
        ),
        actor(3, { op: 'cas', word: 2, old: 1, value: { received: true, plus: 2 } }),
      ],
    },
  ],
  [
    'a condition that holds before two writers or after both, not in between',
    {
      ...nothing,
      actors: [
        actor(0, { op: 'add', word: 2, value: constant(1) }),
        actor(1, { op: 'wait', words: [1, 2], condition: 'equal' }),
        actor(2, { op: 'write', word: 1, value: constant(2) }),
      ],
    },
  ],
  [
    'a condition on two words that two writers make false for ever',
    {
      ...nothing,
      actors: [
        actor(0, { op: 'add', word: 0, value: constant(1) }),
        actor(1, { op: 'wait', words: [0, 2], condition: 'all-zero' }),
        actor(2, { op: 'write', word: 2, value: constant(1) }),
      ],
    },
  ],
  [
    'three writers and a condition on their sum, with updates that commute',
    {
      ...nothing,
      words: [0, 0, 1],
      actors: [
        actor(0, {
          op: 'several',
          guard: { words: [0, 1, 2], condition: 'sum' },
          outcomes: null,
          body: [],
        }),
        actor(
          1,
          { op: 'several', guard: null, outcomes: null, body: [{ do: 'write-at', plus: 1 }] },
          { op: 'write', word: 2, value: constant(0) },
        ),
        actor(
          2,
          { op: 'several', guard: null, outcomes: null, body: [{ do: 'update', word: 1 }] },
          { op: 'write', word: 0, value: constant(0) },
        ),
      ],
    },
  ],
  [
    'a sleeper that touches other words once it is woken',
    {
      ...nothing,
      words: [0, 1, 0],
      actors: [
        actor(0, {
          op: 'several',
          guard: null,
          outcomes: null,
          body: [
            { do: 'read', word: 2 },
            { do: 'write-at', plus: 1 },
          ],
        }),
        actor(1),
        actor(2, { op: 'read', word: 1 }, { op: 'write', word: 2, value: constant(1) }),
        actor(1, { op: 'write', word: 0, value: constant(2) }),
      ],
    },
  ],
  [
    'an actor that is blocked by more than the step that is reversed',
    {
      ...nothing,
      cpus: [
        { virtual: true, root: null },
        { virtual: true, root: null },
      ],
      actors: [
        actor(0, { op: 'ipi', cpu: 1, handler: 1, wait: true }),
        actor(1),
        actor(-1, { op: 'sched-out', cpu: 0 }),
      ],
    },
  ],
  [
    'two entry stores that both make a page reachable, and who looks in between',
    {
      ...nothing,
      cpus: physical('R', 'R', null),
      mapped: [[0, 'T']],
      actors: [
        actor(0, { op: 'xchg-entry', entry: 3, target: { to: 'frame', frame: 'P' } }),
        actor(1, { op: 'lazy', on: false }),
        actor(2, { op: 'set-entry', entry: 4, target: { to: 'frame', frame: 'P' } }),
      ],
    },
  ],
  [
    'loading a root whose frame is handed out again',
    {
      ...nothing,
      cpus: physical('S', 'R', 'S'),
      mapped: [[1, 'U']],
      actors: [
        actor(0, { op: 'load-root', root: 'R', flush: true }),
        actor(1),
        actor(2, { op: 'free-named', frame: 'R' }, { op: 'alloc', recycle: true, level: -1 }),
      ],
    },
  ],
  [
    'promising a translation gone while its table is handed out again',
    {
      ...nothing,
      cpus: physical('R', null, null),
      mapped: [
        [0, 'T'],
        [3, 'P'],
      ],
      actors: [
        actor(
          1,
          { op: 'xchg-entry', entry: 3, target: { to: 'none' } },
          { op: 'set-entry', entry: 3, target: { to: 'frame', frame: 'P' } },
          { op: 'gone' },
        ),
        actor(
          2,
          { op: 'wait', words: [0], condition: 'all-zero' },
          { op: 'free-named', frame: 'T' },
          { op: 'alloc', recycle: true, level: 0 },
        ),
      ],
    },
  ],
  [
    'a lookup whose table is handed out again before the claim',
    {
      ...nothing,
      cpus: physical(null, 'S', 'R'),
      mapped: [
        [0, 'T'],
        [3, 'P'],
        [4, 'P'],
      ],
      actors: [
        actor(0, { op: 'free-named', frame: 'R' }),
        actor(1, { op: 'lookup', entry: 4, root: 'R', address: 0, body: [] }),
        actor(2, { op: 'alloc', recycle: true, level: -1 }),
      ],
    },
  ],
  [
    'a race whose reversal only a later run shows in full (wakeup trees)',
    {
      ...nothing,
      words: [1, 0, 0],
      actors: [
        actor(0, { op: 'write', word: 2, value: constant(0) }),
        actor(
          1,
          { op: 'cas', word: 1, old: 0, value: { received: true, plus: 0 } },
          { op: 'several', guard: null, outcomes: null, body: [{ do: 'read-at', plus: 2 }] },
        ),
        actor(2, { op: 'write', word: 1, value: { received: true, plus: 1 } }),
        observer({ op: 'observe', words: [0, 1], condition: 'any-nonzero', as: 'always' }),
        observer({ op: 'observe', words: [2], condition: 'sum', as: 'sometimes' }),
      ],
    },
  ],
];

test.each(lost)('%s', (_story, spec) => {
  const comparison = compare(spec, 100_000);
  expect(comparison.differences, explain(spec, comparison)).toEqual([]);
  expect(comparison.skipped).toBe(false);
});
