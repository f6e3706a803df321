import { describe, expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import { GracewalkError } from '../../src/base/errors.ts';
import {
  assume,
  bounded,
  fails,
  fn,
  patch,
  returned,
  safe,
  scenario,
  type Scenario,
  type Word,
} from '../../src/index.ts';
import { READ_ONCE, WRITE_ONCE, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import { local_irq_save } from '../../src/machine/ops/processor.ts';
import { checkVariant, type Limits } from '../../src/scenario/check.ts';
import { replayToken } from '../../src/scenario/replay.ts';
import type { VariantResult } from '../../src/scenario/result.ts';
import { parseToken } from '../../src/scenario/token.ts';

interface Two {
  readonly x: Word;
  readonly y: Word;
}

const two = {
  machine: x86_64({ cpus: 2 }),
  setup: (m: { memory: { variable(name: string): Word } }): Two => ({
    x: m.memory.variable('x'),
    y: m.memory.variable('y'),
  }),
};

/** Each raises a word of its own and lowers it again: all runs are equivalent, one is executed. */
const blink = {
  *CPU0({ x }: Two) {
    yield* WRITE_ONCE(x, 1);
    yield* WRITE_ONCE(x, 0);
  },
  *CPU1({ y }: Two) {
    yield* WRITE_ONCE(y, 1);
    yield* WRITE_ONCE(y, 0);
  },
};

function check(question: Scenario, limits: Limits = {}, variant = 'only'): VariantResult {
  return checkVariant(question, variant, { limits, now: () => 0 });
}

describe('a predicate over two words', () => {
  const both = scenario<Two>('both', {
    ...two,
    run: blink,
    always: { 'never both': (v) => v.read(v.s.x) + v.read(v.s.y) < 2 },
    sometimes: { 'x is up': (v) => v.read(v.s.x) === 1 },
    variants: { only: fails('property') },
  });

  test('is refuted although the reduced search executes a single run', () => {
    const result = check(both);
    expect(result.explored.runs).toBe(1);
    expect(result.verdict).toBe('fails');
    expect(result.kinds).toEqual(['property']);
    expect(result.ok).toBe(true);
  });

  test('is refuted by a minimal run that replays from its token', () => {
    const { token, run } = check(both);
    const { schedule, variant } = parseToken(token ?? '');
    expect(variant).toBe('only');
    expect(run?.switches).toBe(1);
    expect(run?.steps.map(({ actor }) => actor)).toEqual(['CPU0', 'CPU1', 'never both']);
    expect(replayToken(both, 'only', schedule)).toEqual(run);
  });

  test('is seen as a witness although no executed run passes the state', () => {
    const witness = scenario<Two>('witness', {
      ...two,
      run: blink,
      sometimes: { both: (v) => v.read(v.s.x) + v.read(v.s.y) === 2 },
      variants: { only: safe() },
    });
    expect(check(witness)).toMatchObject({ verdict: 'safe', sometimes: { both: 'seen' } });
  });
});

describe('a result that is not a pass', () => {
  test('is vacuous if a witness never shows', () => {
    const question = scenario<Two>('never', {
      ...two,
      run: blink,
      sometimes: { 'x is 2': (v) => v.read(v.s.x) === 2 },
      variants: { only: safe() },
    });
    expect(check(question)).toMatchObject({
      verdict: 'vacuous',
      ok: false,
      sometimes: { 'x is 2': 'never' },
    });
  });

  test('is vacuous if every run is assumed away', () => {
    const question = scenario<Two>('assumed', {
      ...two,
      run: {
        *CPU0({ x }) {
          yield* assume((yield* READ_ONCE(x)) === 7);
        },
      },
      sometimes: {},
      variants: { only: safe() },
    });
    expect(check(question)).toMatchObject({ verdict: 'vacuous', ok: false, explored: { runs: 0 } });
  });

  test('is vacuous if a patched function is never called', () => {
    const question = scenario<Two>('unused', {
      ...two,
      run: blink,
      sometimes: {},
      variants: {
        only: safe({ patches: [patch(local_irq_save, () => READ_ONCE(null as never))] }),
      },
    });
    const result = check(question);
    expect(result).toMatchObject({ verdict: 'vacuous', ok: false });
    expect(result.neverCalled.map(({ name }) => name)).toEqual(['local_irq_save']);
  });

  test('is inconclusive at a limit of runs, and says which', () => {
    const question = scenario<Two>('race', {
      ...two,
      run: { CPU0: ({ x }) => WRITE_ONCE(x, 1), CPU1: ({ x }) => WRITE_ONCE(x, 2) },
      sometimes: {},
      variants: { only: safe() },
    });
    expect(check(question).verdict).toBe('safe');
    expect(check(question).explored.runs).toBe(2);
    expect(check(question, { runs: 1 })).toMatchObject({
      verdict: 'inconclusive',
      ok: false,
      limit: { name: 'runs', value: 1 },
    });
  });

  test('is inconclusive up to a number of context switches, also if nothing was left out', () => {
    const question = scenario<Two>('quiet', {
      ...two,
      run: blink,
      sometimes: {},
      variants: { only: safe() },
    });
    expect(check(question, { switches: 9 })).toMatchObject({
      verdict: 'inconclusive',
      limit: { name: 'switches', value: 9 },
    });
  });

  test('is inconclusive if a loop runs out of rounds', () => {
    const retry = fn(function* retry(x: Word) {
      for (const _ of bounded(2)) {
        const old = yield* READ_ONCE(x);
        if (yield* try_cmpxchg(x, old, old + 10)) return old;
      }
      return -1;
    });
    const question = (writes: number): Scenario =>
      scenario<Two>('bounded', {
        ...two,
        run: {
          CPU0: ({ x }) => retry(x),
          *CPU1({ x }) {
            for (let value = 1; value <= writes; value++) yield* WRITE_ONCE(x, value);
          },
        },
        sometimes: { 'the second round succeeds': returned(retry, 1) },
        variants: { only: safe() },
      });
    expect(check(question(1))).toMatchObject({ verdict: 'safe' });
    expect(check(question(2))).toMatchObject({
      verdict: 'inconclusive',
      limit: { name: 'bounded', value: 2, runs: 1 },
    });
  });
});

describe('an expectation', () => {
  const question = (expected: ReturnType<typeof fails<Two>>): Scenario =>
    scenario<Two>('leaks', {
      ...two,
      run: { CPU0: () => local_irq_save() },
      sometimes: {},
      variants: { only: expected },
    });

  test('is met by exactly the declared kinds', () => {
    expect(check(question(fails('irq-leak'))).ok).toBe(true);
    expect(check(question(fails('deadlock'))).ok).toBe(false);
    expect(check(question(fails(['irq-leak', 'deadlock']))).ok).toBe(false);
    expect(check(question(safe())).ok).toBe(false);
  });
});

describe('what an actor must not do', () => {
  test('differ for the same received values (E303)', () => {
    let calls = 0;
    const question = scenario<Two>('moody', {
      ...two,
      run: {
        *CPU0({ x, y }) {
          yield* READ_ONCE(x);
          yield* WRITE_ONCE(calls++ % 2 === 0 ? x : y, 1);
        },
        CPU1: ({ x }) => WRITE_ONCE(x, 5),
      },
      sometimes: {},
      variants: { only: safe() },
    });
    expect(() => check(question)).toThrow(expect.objectContaining({ code: 'E303' }));
  });

  test('call an operation without yield* (E101)', () => {
    const question = scenario<Two>('forgot', {
      ...two,
      run: {
        *CPU0({ x }) {
          local_irq_save();
          yield* READ_ONCE(x);
        },
      },
      sometimes: {},
      variants: { only: safe() },
    });
    expect(() => check(question)).toThrow(GracewalkError);
    expect(() => check(question)).toThrow(expect.objectContaining({ code: 'E101' }));
  });

  test('spin on a word that it only reads (E301)', () => {
    const question = scenario<Two>('spins', {
      ...two,
      run: {
        *CPU0({ x }) {
          while ((yield* READ_ONCE(x)) === 0);
        },
        CPU1: ({ x }) => WRITE_ONCE(x, 1),
      },
      sometimes: {},
      variants: { only: safe() },
    });
    expect(() => check(question)).toThrow(expect.objectContaining({ code: 'E301' }));
  });
});

test('a misspelt field is refused, not ignored', () => {
  const misspelt = { ...two, run: blink, sometimes: {}, alwyas: {}, variants: { only: safe() } };
  expect(() => scenario<Two>('typo', misspelt)).toThrow("unknown field 'alwyas' in scenario typo");
  const patchs = { ...safe<Two>(), patchs: [] };
  expect(() =>
    scenario<Two>('typo', { ...two, run: blink, sometimes: {}, variants: { only: patchs } }),
  ).toThrow("unknown field 'patchs' in variant 'only'");
});

test('what a variant shows is an id of the specification or of a bug', () => {
  const shown = (shows: readonly string[]): unknown =>
    scenario<Two>('ids', {
      ...two,
      run: blink,
      sometimes: {},
      variants: { only: safe({ shows }) },
    });
  const good = ['M3.12', 'M4.2b', 'L8', 'mm:C4', 'kvm:C1', 'bug:mremap-late-flush'];
  expect(() => shown(good)).not.toThrow();
  for (const id of ['3.12', 'm3', 'mm:4', 'C4 ', 'bug:']) {
    expect(() => shown([id])).toThrow(`variant 'only' shows '${id}', which is no id`);
  }
});
