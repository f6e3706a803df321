import { expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import { fails, fn, scenario, type Word } from '../../src/index.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { mutex_lock, mutex_unlock } from '../../src/machine/ops/locks.ts';
import { AGAIN, retry } from '../../src/machine/ops/retry.ts';
import { runJson } from '../../src/report/json.ts';
import { rowsOf } from '../../src/report/rows.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import type { Step } from '../../src/scenario/result.ts';

/** What must not be folded away: by whom somebody is held up, the last step of who is stuck, and refusals. */

interface Locks {
  readonly a: Word;
  readonly b: Word;
  readonly x: Word;
}

const setup = (m: { memory: { variable(name: string): Word } }): Locks => ({
  a: m.memory.variable('a'),
  b: m.memory.variable('b'),
  x: m.memory.variable('x'),
});

const machine = x86_64({ cpus: 2 });

/** Takes the second lock inside the first, after work of its own that is too long to be drawn. */
const both = fn(function* both(first: Word, second: Word, x: Word) {
  yield* mutex_lock(first);
  for (let i = 0; i < 25; i++) yield* WRITE_ONCE(x, i);
  yield* mutex_lock(second);
  yield* mutex_unlock(second);
  yield* mutex_unlock(first);
});

const ops = (steps: readonly Step[]): string[] =>
  steps.filter(({ holdsUp }) => holdsUp).map(({ actor, op }) => `${actor} ${op}`);

test('who holds a lock that another waits for, and the last step of both', () => {
  const deadlock = scenario('abba', {
    machine,
    setup: (m) => ({ ...setup(m), y: m.memory.variable('y') }),
    run: {
      CPU0: ({ a, b, x }) => both(a, b, x),
      CPU1: ({ a, b, y }) => both(b, a, y),
    },
    sometimes: {},
    variants: { only: fails('deadlock') },
  });
  const { run } = checkVariant(deadlock, 'only', { limits: {}, now: () => 0 });
  expect(ops(run?.steps ?? [])).toEqual(['CPU0 lock', 'CPU0 write', 'CPU1 lock', 'CPU1 write']);
  const rows = rowsOf(run!, 'auto', () => null).map(({ column, text }) => `${column} ${text}`);
  expect(rows).toEqual([
    'CPU0 both()',
    'CPU0 mutex_lock();',
    'CPU0 ...',
    'CPU0 WRITE_ONCE();',
    'CPU1 both()',
    'CPU1 mutex_lock();',
    'CPU1 ...',
    'CPU1 WRITE_ONCE();',
  ]);
});

const start = fn(
  function* start(x: Word, refuses: boolean) {
    for (let i = 0; i < 50; i++) yield* WRITE_ONCE(x, i);
    return !refuses;
  },
  { refusal: 'start() returns -EAGAIN' },
);

test.each([true, false])('a call that is refused: %s', (refuses) => {
  const refused = scenario('refused', {
    machine,
    setup,
    run: {
      *CPU0({ a, x }) {
        yield* start(x, refuses);
        yield* mutex_lock(a);
        yield* mutex_lock(a);
      },
    },
    sometimes: {},
    variants: { only: fails('deadlock') },
  });
  const { run } = checkVariant(refused, 'only', { limits: {}, now: () => 0 });
  expect((run?.steps ?? []).flatMap(({ refusals = [] }) => refusals)).toEqual(
    refuses ? ['start() returns -EAGAIN'] : [],
  );
  const texts = rowsOf(run!, 'auto', () => null).map(({ text }) => text);
  expect(texts.includes('[ start() returns -EAGAIN ]')).toBe(refuses);
});

const names = ['a', 'b', 'c', 'd', 'e', 'f'];

test.each([
  [6, 'd, e, f, and 3 more'],
  [4, 'a, b, c, d'],
])('of %d words that a loop looks at, those that it looked at last', (count, told) => {
  const livelock = scenario('words', {
    machine,
    setup: (m) => names.slice(0, count).map((name) => m.memory.variable(name)),
    run: {
      *CPU0(words) {
        yield* retry(function* () {
          for (const word of [...words].reverse()) yield* READ_ONCE(word);
          for (const word of words) yield* READ_ONCE(word);
          return AGAIN;
        });
      },
    },
    sometimes: {},
    variants: { only: fails('livelock') },
  });
  const { run } = checkVariant(livelock, 'only', { limits: {}, now: () => 0 });
  expect(run?.violation?.message).toContain(`without a change of ${told}.`);
  expect(run?.waiting).toEqual([`CPU0 waits for a change of ${told}`]);
  const retries = [{ actor: 'CPU0', words: names.slice(0, count) }];
  expect(runJson(run!, () => null)).toMatchObject({ retries });
});
