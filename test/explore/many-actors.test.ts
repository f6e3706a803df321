import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { minimalRun } from '../../src/explore/minimal.ts';
import type { Program } from '../../src/explore/run.ts';
import { sample } from '../../src/explore/sample.ts';
import { MAX_ACTORS } from '../../src/machine/machine.ts';
import { spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { build as buildSpec } from '../compare/build.ts';
import type { Stmt } from '../compare/spec.ts';
import { exploreFinals } from '../zoo/final-states.ts';
import { title, zoo, type Counted } from '../zoo/index.ts';
import { build, underTso } from '../zoo/program.ts';
import { beside } from '../zoo/transform.ts';
import { array, element, times, type Words } from '../zoo/words.ts';

/**
 * Sets of actors are words of 32 bits: what holds of few actors must hold of those in the second word, and of
 * those on both sides of the seam.
 */

/** Threads that have no step to take, so that the others have higher numbers and every interleaving is feasible. */
function idle(count: number): Program {
  return build({ words: {}, threads: () => times(count, () => function* () {}) });
}

/** Threads that write a word of their own each, and then read it. */
function independent(count: number): Program {
  return build({
    words: array('own', count),
    threads: (w: Words) =>
      times(
        count,
        (at) =>
          function* () {
            yield* WRITE_ONCE(element(w, 'own', at), 1);
            return yield* READ_ONCE(element(w, 'own', at));
          },
      ),
  });
}

/** Of 40 threads, number 1 and number 39 do this; the others nothing. */
function between1And39(
  words: Record<string, number>,
  first: (w: Words) => Steps<unknown>,
  second: (w: Words) => Steps<unknown>,
): Program {
  return build({
    words,
    threads: (w: Words) =>
      times(40, (at) => {
        if (at === 1) return () => first(w);
        if (at === 39) return () => second(w);
        return function* () {};
      }),
  });
}

const storeBuffering = (): Program =>
  between1And39(
    { x: 0, y: 0 },
    function* ({ x, y }) {
      yield* WRITE_ONCE(x!, 1);
      return yield* READ_ONCE(y!);
    },
    function* ({ x, y }) {
      yield* WRITE_ONCE(y!, 1);
      return yield* READ_ONCE(x!);
    },
  );

const ABBA = (): Program =>
  between1And39(
    { a: 0, b: 0 },
    function* ({ a, b }) {
      yield* spin_lock(a!);
      yield* spin_lock(b!);
      yield* spin_unlock(b!);
      yield* spin_unlock(a!);
    },
    function* ({ a, b }) {
      yield* spin_lock(b!);
      yield* spin_lock(a!);
      yield* spin_unlock(a!);
      yield* spin_unlock(b!);
    },
  );

test.each(['source', 'optimal'] as const)('40 independent threads are one class: %s', (engine) => {
  const { runs, sleepBlocked } = explore(independent(40), { engine });
  expect({ runs, sleepBlocked }).toEqual({ runs: 1, sleepBlocked: 0 });
});

describe('a race between actor 1 and actor 39', () => {
  test('has both orders, and no engine loses or repeats one', () => {
    const plain = exploreFinals(storeBuffering(), { engine: 'plain' });
    expect(plain.runs).toBe(6);
    for (const engine of ['source', 'optimal'] as const) {
      const { runs, finals } = exploreFinals(storeBuffering(), { engine });
      expect({ runs, finals }).toEqual({ runs: 3, finals: plain.finals });
    }
  });

  test('has both orders among others that race with nobody', () => {
    const crowded = (): Program => beside(storeBuffering(), independent(24));
    for (const engine of ['source', 'optimal'] as const) {
      expect(explore(crowded(), { engine }).runs).toBe(3);
    }
  });

  test('deadlocks in a run that only the two take part in', () => {
    const { runs, deadlocks } = explore(ABBA());
    expect({ runs, deadlocks }).toEqual({ runs: 3, deadlocks: 1 });
    const { run } = minimalRun(ABBA(), {
      wanted: ({ kind }) => kind === 'deadlock',
      maxSwitches: 4,
      maxStates: 1000,
    });
    expect(run?.schedule.actors).toEqual([1, 39]);
    expect(run?.switches).toBe(1);
  });

  test.each(['random', 'pct'] as const)('is met by chance: %s', (oracle) => {
    const { deadlocks } = sample(ABBA(), {
      oracle,
      seed: 1,
      runs: 200,
      wanted: () => false,
    });
    expect(deadlocks).toBeGreaterThan(0);
    expect(deadlocks).toBeLessThan(200);
  });
});

const small = zoo.filter(({ runs, name }) => runs <= 150 && runs > 2 && name !== 'lastwrite');

function threadsOf({ build: make }: Counted): number {
  return make().actors.length;
}

test.each(small.map((counted) => [title(counted), counted] as const))(
  '%s has as many executions at the seam and behind it',
  (_title, it) => {
    const threads = threadsOf(it);
    for (const before of [32 - Math.floor(threads / 2), MAX_ACTORS - threads]) {
      const { runs, deadlocks } = explore(beside(idle(before), it.build()));
      expect({ runs, deadlocks }).toEqual({ runs: it.runs, deadlocks: it.deadlocks });
    }
    const optimal = explore(beside(idle(32), it.build()), { engine: 'optimal' });
    expect([optimal.runs, optimal.sleepBlocked]).toEqual([it.runs, 0]);
  },
);

const countedUnderTso = small.filter(({ tso }) => tso !== null);

test.each(countedUnderTso.map((counted) => [title(counted), counted] as const))(
  '%s has as many under x86-TSO with buffers up to the last actor',
  (_title, it) => {
    const program = underTso(beside(idle(MAX_ACTORS / 2 - threadsOf(it)), it.build()));
    expect(explore(program).runs).toBe(it.tso);
    expect(program.machine.actors.length).toBe(MAX_ACTORS);
  },
);

test.each(['SB', 'IRIW', 'CoRR', 'ABBA', 'peterson', 'inc(3)', 'wrw(3)', 'msq(1,1)'])(
  'every interleaving of %s is tried at the seam, too',
  (name) => {
    const it = zoo.find((counted) => title(counted) === name)!;
    const before = 32 - Math.floor(threadsOf(it) / 2);
    const there = explore(beside(idle(before), it.build()), { engine: 'plain' });
    const here = explore(it.build(), { engine: 'plain' });
    expect(there.runs).toBe(here.runs);
    expect(there.steps).toBe(here.steps);
  },
);

test('callbacks may be the actors behind the seam', () => {
  const callbacks = (before: number): Program =>
    buildSpec({
      family: 'many actors',
      model: 'sc',
      words: [0, 0, 0],
      locks: 0,
      pointers: 1,
      cpus: times(before + 2, () => ({ virtual: false, root: null })),
      actors: times(before + 2, (cpu) => {
        const body: Stmt[] = cpu < before ? [] : [{ op: 'call-rcu', handler: 2 }];
        return { cpu, kind: 'task', shared: false, daemon: false, body };
      }),
      handlers: [
        [],
        [],
        [
          { op: 'read', word: 0 },
          { op: 'write', word: 0, value: { received: true, plus: 1 } },
        ],
        [],
      ],
      checks: [],
      mapped: [],
      pointing: [null],
    });
  const few = exploreFinals(callbacks(0));
  expect(few.finals.length).toBeGreaterThan(1);
  for (const engine of ['source', 'optimal', 'plain'] as const) {
    const here = exploreFinals(callbacks(0), { engine });
    const there = exploreFinals(callbacks(31), { engine });
    expect([there.runs, there.steps]).toEqual([here.runs, here.steps]);
    expect(there.finals.length).toBe(few.finals.length);
  }
});
