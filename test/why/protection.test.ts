import { describe, expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import { entered, fn, safe, scenario, type Steps, type Word } from '../../src/index.ts';
import * as linux from '../../src/kernel/index.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import { tryVariant, type Trial } from '../../src/why/trial.ts';

/** Protections as variants do without them: each is what its place is called, and goes with what ends it. */

interface Words {
  readonly x: Word;
  readonly lock: Word;
  readonly other: Word;
}

const {
  READ_ONCE,
  WRITE_ONCE,
  local_irq_restore,
  local_irq_save,
  preempt_disable,
  preempt_enable,
  rcu_read_lock,
  rcu_read_unlock,
  spin_lock,
  spin_unlock,
  srcu_read_lock,
  srcu_read_unlock,
  synchronize_srcu,
} = linux;

function question(
  body: (words: Words) => Steps<unknown>,
  without: readonly string[] = [],
): Parameters<typeof tryVariant>[0] {
  return scenario<Words>('sections', {
    machine: x86_64({ cpus: 2 }),
    setup: ({ memory }) => ({
      x: memory.variable('x'),
      lock: memory.variable('A.lock'),
      other: memory.variable('ptl(pteA)'),
    }),
    run: { CPU0: body, CPU1: ({ x }) => WRITE_ONCE(x, 1) },
    sometimes: { 'x is read': entered('CPU0', READ_ONCE) },
    variants: { only: safe({ without }) },
  });
}

function tried(body: (words: Words) => Steps<unknown>, without: readonly string[] = []): Trial {
  const options = { runs: 1e6, steps: 1e6, watch: () => null, wanted: null, traced: true };
  return tryVariant(question(body, without), 'only', options);
}

/** Opens here, closes there: kernel functions often do. */
const begin = fn(function* begin({ lock }: Words) {
  const flags = yield* local_irq_save();
  yield* rcu_read_lock();
  yield* preempt_disable();
  yield* spin_lock(lock);
  return flags;
});

const end = fn(function* end({ lock }: Words, flags: number) {
  yield* spin_unlock(lock);
  yield* preempt_enable();
  yield* rcu_read_unlock();
  yield* local_irq_restore(flags);
});

const sections = fn(function* sections(words: Words) {
  const flags = yield* begin(words);
  const x = yield* READ_ONCE(words.x);
  yield* end(words, flags);
  return x;
});

const ALL = [
  'local_irq_save() in begin()',
  'preempt_disable() in begin()',
  'rcu_read_lock() in begin()',
  'the lock lock',
];

describe('a protection is taken away with what ends it', () => {
  const all = tried(sections);

  test('and is called after its place, a lock after what it is', () => {
    expect([...all.protections.keys()]).toEqual(ALL);
    expect(all.effects.size).toBe(0);
  });

  test.each(ALL)('%s', (name) => {
    const less = tried(sections, [name]);
    expect([...less.effects.keys()]).toEqual([]); // nothing is left open, and nothing closed that is not
    expect(less.steps).toBeLessThan(all.steps);
  });

  test('all of them together', () => {
    expect(tried(sections, ALL)).toMatchObject({ effects: new Map(), stopped: null });
  });
});

test('of two nested sections the inner one can be taken away, and the outer one is still closed', () => {
  const inner = fn(function* inner({ x }: Words) {
    const flags = yield* local_irq_save();
    const value = yield* READ_ONCE(x);
    yield* local_irq_restore(flags);
    return value;
  });
  const outer = fn(function* outer(words: Words) {
    const flags = yield* local_irq_save();
    yield* inner(words);
    yield* local_irq_restore(flags);
  });
  for (const place of ['inner', 'outer']) {
    expect(tried(outer, [`local_irq_save() in ${place}()`]).effects).toEqual(new Map());
  }
});

describe('SRCU', () => {
  const inside = fn(function* inside({ x, other }: Words) {
    const index = yield* srcu_read_lock(other);
    yield* READ_ONCE(x);
    yield* synchronize_srcu(other); // its own section: it waits for ever
    yield* srcu_read_unlock(other, index);
  });
  const [section, grace] = ['srcu_read_lock() in inside()', 'the SRCU grace period in inside()'];

  test('a section is a protection, and so is the grace period', () => {
    expect([...tried(inside).protections.keys()]).toEqual([section, grace]);
    expect(tried(inside).effects.size).toBe(1);
  });

  test.each([section, grace])(
    'without %s nobody waits for it, and nothing is left open',
    (name) => {
      expect(tried(inside, [name]).effects).toEqual(new Map());
    },
  );
});

test('locks of one class are one protection', () => {
  const both = fn(function* both({ x, other, lock }: Words) {
    yield* spin_lock(other);
    yield* spin_lock(lock);
    yield* READ_ONCE(x);
    yield* spin_unlock(lock);
    yield* spin_unlock(other);
  });
  expect([...tried(both).protections.keys()]).toEqual(['the lock lock', 'the lock ptl']);
});

test('one that is always a part of another says so', () => {
  const part = fn(
    function* part() {
      yield* preempt_disable();
      yield* preempt_enable();
    },
    { protects: { what: 'part()' } },
  );
  const whole = fn(function* whole({ x }: Words) {
    yield* part();
    yield* READ_ONCE(x);
  });
  const { protections } = tried(whole);
  expect([...(protections.get('preempt_disable() in part()') ?? [])]).toEqual([
    'part() in whole()',
  ]);
  expect([...tried(whole, ['part() in whole()']).protections.keys()]).toEqual([
    'part() in whole()',
  ]);
});

test('one that nobody comes by is E201: the variant is not what its author thinks', () => {
  const asked = question(sections, ['local_irq_save() in beginn()']);
  const result = checkVariant(asked, 'only', { limits: {}, now: () => 0 });
  expect(result.verdict).toBe('vacuous');
  expect(result.neverCalled).toEqual([
    { name: 'local_irq_save() in beginn()', site: null, protection: true },
  ]);
});
