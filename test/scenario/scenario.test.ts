import { describe, expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import { GracewalkError } from '../../src/base/errors.ts';
import {
  fails,
  fn,
  nop,
  only,
  patch,
  safe,
  scenario,
  spin_until,
  touched,
  type Scenario,
  type Steps,
  type Word,
} from '../../src/index.ts';
import { mutex_lock, mutex_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { preempt_disable, preempt_enable } from '../../src/machine/ops/processor.ts';
import { checkVariant } from '../../src/scenario/check.ts';

const reader = fn(function* reader(x: Word): Steps<number> {
  return yield* READ_ONCE(x);
});

const good = {
  machine: x86_64({ cpus: 1 }),
  setup: (m: { memory: { variable(name: string): Word } }) => m.memory.variable('x'),
  run: { CPU0: (x: Word) => reader(x) },
  sometimes: {},
  variants: { linux: safe() },
};

/** What is said of a scenario file that types would not have let pass, or that has a misspelt name. */
function complaint(change: object): string {
  try {
    scenario('question', { ...good, ...change });
  } catch (error) {
    if (!(error instanceof GracewalkError)) throw error;
    const { site, notes = [], help } = error.details;
    expect(site?.file).toMatch(/scenario\.test\.ts$/);
    return [`${error.code}: ${error.message}`, ...notes, help].join('\n');
  }
  return 'nothing';
}

const page = (): never => undefined as never;
const variant = (options: object): object => ({ variants: { linux: safe(options) } });

test('a good scenario is not refused', () => {
  expect(complaint({})).toBe('nothing');
});

describe('a part that is missing', () => {
  test.each(['machine', 'setup', 'run', 'sometimes', 'variants'])('%s', (part) => {
    expect(complaint({ [part]: undefined })).toContain(`E108: scenario question has no ${part}\n`);
  });

  test('is not asked of the scenario if each variant has its own', () => {
    expect(complaint({ setup: undefined, ...variant({ setup: good.setup }) })).toBe('nothing');
  });

  test('an actor that is no function', () => {
    expect(complaint({ run: { CPU0: undefined } })).toContain("E108: actor 'CPU0' is no function");
  });

  test('a predicate that is none', () => {
    const told = "E108: sometimes 'seen' is no predicate";
    expect(complaint({ sometimes: { seen: undefined } })).toContain(told);
    expect(complaint({ sometimes: { seen: only(['linux'], undefined as never) } })).toContain(told);
    expect(complaint({ sometimes: { seen: only('linux' as never, () => true) } })).toContain(told);
    expect(complaint({ always: { kept: true } })).toContain("E108: always 'kept' is no predicate");
  });

  test('an expectation', () => {
    expect(complaint({ variants: { linux: {} } })).toContain(
      "E108: variant 'linux' does not say what is expected of it",
    );
    expect(complaint({ variants: { linux: fails([]) } })).toContain('E108: fails() names no kind');
  });
});

describe('a name that means nothing', () => {
  test('a variant in only()', () => {
    const variants = { linux: safe(), 'linux, no rcu': fails('use-after-free') };
    expect(complaint({ variants, sometimes: { seen: only(['linux, no rcu '], () => true) } }))
      .toBe(`E106: no variant 'linux, no rcu ' in question
sometimes 'seen' is asked of it; there are 'linux', 'linux, no rcu'
did you mean 'linux, no rcu'?`);
    expect(complaint({ sometimes: { seen: only(['else'], () => true) } })).toContain(
      'name variants as they are written under `variants`',
    );
    expect(complaint({ sometimes: { seen: only([], () => true) } })).toContain('of no variant');
  });

  test('an actor in touched()', () => {
    expect(complaint({ sometimes: { seen: touched('CPU1', page, 'freed') } }))
      .toBe(`E102: no actor 'CPU1'
sometimes 'seen' speaks of its steps; there is 'CPU0'
did you mean 'CPU0'?`);
  });

  test('not an actor of one of the variants it is asked of, nor one that a step makes', () => {
    const machine = x86_64({ cpus: 2 });
    const variants = { linux: safe(), two: safe({ machine, run: { CPU1: reader } }) };
    const seen = touched('CPU1', page, 'freed');
    expect(complaint({ variants, sometimes: { seen } })).toBe('nothing');
    expect(complaint({ variants, sometimes: { seen: only(['linux'], seen) } })).toContain('E102');
    expect(complaint({ sometimes: { seen: touched('IPI: handler', page, 'live') } })).toBe(
      'nothing',
    );
  });

  test('a setting of the allocator', () => {
    expect(complaint(variant({ alloc: { GFP_NOWAIT: 'fail' } }))).toBe(
      "E109: GFP_NOWAIT cannot be 'fail'\nvariant 'linux'; known: ok, fails, either\ndid you mean 'fails'?",
    );
    expect(complaint({ alloc: { GFP_ATOMIC: 'ok' } })).toContain(
      'E109: unknown allocation setting GFP_ATOMIC',
    );
    expect(complaint({ alloc: { GFP_NOWAIT: 'either' } })).toBe('nothing');
  });

  test('the memory model', () => {
    expect(complaint({ model: 'tos' })).toBe(
      "E109: no memory model 'tos'\nvariant 'linux'; known: sc (sequential consistency), tso (store buffers, as x86 has them)\ndid you mean 'tso'?",
    );
    expect(complaint(variant({ model: 'arm' }))).toContain("E109: no memory model 'arm'");
    expect(complaint({ model: 'tso', ...variant({ model: 'sc' }) })).toBe('nothing');
  });

  test('a kind of violation', () => {
    expect(complaint({ variants: { linux: fails('use-after-fre' as never) } })).toMatch(
      /^E108: no violation 'use-after-fre'[^]*did you mean 'use-after-free'\?$/,
    );
  });
});

describe('a patch', () => {
  const patched = (target: unknown, by: unknown): string =>
    complaint(variant({ patches: [patch(target as typeof reader, by as typeof nop)] }));

  test('of nothing', () => {
    expect(patched(undefined, nop)).toBe(
      "E108: patch() of something that is no kernel function\nit is undefined: check the name\nvariant 'linux'\n" +
        'only what `fn` or `leaf` made can be patched; patch a caller of it',
    );
  });

  test('of a function that is no kernel function', () => {
    const pmd_none = (): boolean => true;
    expect(patched(pmd_none, nop)).toContain('E108: patch() of pmd_none(), which is no kernel');
  });

  test('by nothing', () => {
    expect(patched(reader, undefined)).toContain('E108: patch() of reader() by something');
    expect(patched(reader, nop)).toBe('nothing');
  });
});

test('a loop of some rounds is no spin loop, although it reads the same value in each', () => {
  const counting = (rounds: number): Scenario =>
    scenario<Word>('counting', {
      machine: x86_64({ cpus: 2 }),
      setup: (m) => m.memory.variable('x'),
      run: {
        *CPU0(x) {
          for (let round = 0; round < rounds; round++) yield* READ_ONCE(x);
        },
        CPU1: (x) => WRITE_ONCE(x, 1),
      },
      sometimes: {},
      variants: { only: safe() },
    });
  const check = (question: Scenario) =>
    checkVariant(question, 'only', { limits: {}, now: () => 0 }).verdict;
  expect(check(counting(12))).toBe('safe');
  expect(() => check(counting(40))).toThrow(expect.objectContaining({ code: 'E301' }));
});

test('a task that cannot have its CPU waits for the task that has it, not for an interrupt handler', () => {
  const question: Scenario = scenario<Word>('shared', {
    machine: x86_64({ cpus: 1 }),
    setup: (m) => m.memory.variable('mutex'),
    run: {
      *'CPU0/a'(mutex) {
        yield* preempt_disable();
        yield* spin_until([mutex], (owner) => owner === 0);
        yield* preempt_enable();
      },
      *'CPU0/b'(mutex) {
        yield* mutex_lock(mutex);
        yield* mutex_unlock(mutex);
      },
    },
    sometimes: {},
    variants: { only: fails('deadlock') },
  });
  const { ok, run } = checkVariant(question, 'only', { limits: {}, now: () => 0 });
  expect(ok).toBe(true);
  expect(run?.waiting).toEqual([
    'CPU0/a waits for a change of mutex',
    'CPU0/b waits for CPU0, which runs CPU0/a',
  ]);
});
