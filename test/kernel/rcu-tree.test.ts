import { describe, expect, test } from 'vitest';
import type { Engine } from '../../src/explore/explore.ts';
import * as linux from '../../src/kernel/index.ts';
import { fn, patch, type Patch } from '../../src/machine/fn.ts';
import { spin_until } from '../../src/machine/ops/control.ts';
import type { Steps } from '../../src/machine/op.ts';
import { outcomesOf } from '../compare/outcomes.ts';
import {
  TREE,
  build,
  outcomes,
  readers,
  updaters,
  type Tasks,
  type Words,
} from './rcu-programs.ts';

/** What the machine can come to and the specification cannot. */
function notAllowed(tasks: Tasks, machine: readonly Patch[]): string[] {
  const allowed = outcomes(tasks, []).finals;
  return [...outcomes(tasks, machine).finals].filter((final) => !allowed.has(final));
}

function expectSame(tasks: Tasks): void {
  const abstract = outcomes(tasks, []);
  const tree = outcomes(tasks, TREE);
  expect([...tree.finals].sort()).toEqual([...abstract.finals].sort());
  expect(tree.violations).toEqual(abstract.violations);
}

describe('the machine comes to exactly what the specification allows', () => {
  describe.each(Object.keys(updaters))('updater: %s', (updater) => {
    test.each(Object.keys(readers))('reader: %s', (reader) => {
      expectSame({ CPU0: readers[reader]!, CPU1: updaters[updater]! });
    });
  });

  test.each([
    ['rcu_read_lock', 'interrupts off'],
    ['rcu_read_lock', 'rcu_read_lock'],
    ['preemption off', 'no section'],
  ])('readers on two CPUs: %s, %s', (first, second) => {
    expectSame({ CPU0: readers[first]!, CPU1: updaters.call_rcu!, CPU2: readers[second]! });
  });

  test('two updaters share grace periods', () => {
    expectSame({
      CPU0: readers.rcu_read_lock!,
      CPU1: updaters.call_rcu!,
      CPU2: updaters.call_rcu!,
    });
  });

  test.each(['rcu_read_lock', 'preemption off', 'no section'])(
    'the updater runs on the reader’s CPU: %s',
    (reader) => {
      expectSame({ 'CPU0/reader': readers[reader]!, 'CPU0/updater': updaters.synchronize_rcu! });
    },
  );

  test('synchronize_rcu() inside a section', () => {
    const tasks: Tasks = {
      *CPU0() {
        yield* linux.rcu_read_lock();
        yield* linux.synchronize_rcu();
      },
    };
    expectSame(tasks);
    expect([...outcomes(tasks, TREE).violations]).toEqual([
      'CPU0 may sleep on synchronize_rcu() inside an RCU read-side section.',
    ]);
  });
});

describe('a grace period that is none is found out', () => {
  const busy: Tasks = {
    CPU0: readers.rcu_read_lock!,
    CPU1: updaters['call_rcu, another one before']!,
  };
  const early = ['complete 01 undefined x=1 y=1 z=5 lock=0'];

  test('M5.2: the callback joins the grace period in progress', () => {
    const joins = patch(linux.rcu_seq_snap, function* (gp_seq) {
      return (gp_seq + 4) & ~3;
    });
    expect(notAllowed(busy, TREE)).toEqual([]);
    expect(notAllowed(busy, [...TREE, joins])).toEqual(early);
  });

  test('the callback waits for no grace period at all', () => {
    const now = patch(linux.rcu_seq_snap, function* () {
      return 0;
    });
    expect(notAllowed(busy, [...TREE, now])).toEqual(early);
  });

  test.each([
    ['interrupts off', { ignoreAtomic: true, ignoreBlocked: false }],
    ['spinlock held', { ignoreAtomic: true, ignoreBlocked: false }],
    ['rcu_read_lock', { ignoreAtomic: false, ignoreBlocked: true }],
    ['nested rcu_read_lock', { ignoreAtomic: false, ignoreBlocked: true }],
  ] as const)('M5.3: a CPU reports in the middle of a section: %s', (reader, rule) => {
    const reports = patch(linux.rcu_qs, function* () {
      yield* linux.quiescent_state(rule);
    });
    const tasks: Tasks = { CPU0: readers[reader]!, CPU1: updaters.call_rcu! };
    expect(notAllowed(tasks, [...TREE, reports])).toEqual([
      'complete 01 undefined x=1 y=1 z=0 lock=0',
    ]);
  });
});

test('a reader that waits for a callback is let go by the specification, and may hang the machine', () => {
  const done = fn(function* done({ y }: Words): Steps<void> {
    yield* linux.WRITE_ONCE(y, 1);
  });
  const tasks: Tasks = {
    *CPU0({ x, y }) {
      yield* spin_until([x], (value) => value === 1); // so the section begins after call_rcu()
      yield* linux.rcu_read_lock();
      yield* spin_until([y], (value) => value === 1);
      yield* linux.rcu_read_unlock();
    },
    *CPU1(w) {
      yield* linux.call_rcu(done, [w]);
      yield* linux.WRITE_ONCE(w.x, 1);
    },
  };
  const endings = (patches: readonly Patch[]): string[] =>
    [...outcomes(tasks, patches).finals].map((final) => final.split(' ')[0]!).sort();
  expect(endings([])).toEqual(['complete']);
  expect(endings(TREE)).toEqual(['complete', 'deadlock']);
});

describe('reduction of the machine loses nothing that plain enumeration finds', () => {
  const small: readonly Tasks[] = Object.values(readers).flatMap((reader) =>
    ['call_rcu', 'synchronize_rcu', 'call_rcu by a callback'].map((updater) => ({
      CPU0: reader,
      CPU1: updaters[updater]!,
    })),
  );

  test('over the pairs of readers and updaters', () => {
    let compared = 0;
    for (const tasks of small) {
      const explored = (engine: Engine) =>
        outcomesOf({ ...build(tasks, TREE).program, seen: new Set() }, engine, { maxRuns: 12_000 });
      const plain = explored('plain');
      if (plain.stopped !== null) continue;
      const reduced = explored('source');
      compared++;
      expect(reduced.finals).toEqual(plain.finals);
      expect(reduced.deadlocks).toEqual(plain.deadlocks);
      expect(reduced.violations).toEqual(plain.violations);
      expect(reduced.classes).toEqual(plain.classes);
    }
    expect(compared).toBeGreaterThan(10);
  });
});
