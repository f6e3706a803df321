import { describe, expect, test } from 'vitest';
import { arm64, x86_64 } from '../../src/arch/index.ts';
import { fails, safe, scenario, type Scenario, type Word } from '../../src/index.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import { variantFingerprint } from '../../src/scenario/facts.ts';
import type { VariantResult } from '../../src/scenario/result.ts';
import { underModel } from '../../src/scenario/scenario.ts';
import { decodeSchedule } from '../../src/scenario/token.ts';

type Words = Readonly<Record<'x' | 'y' | 'rx' | 'ry', Word>>;

/** Store buffering: the answer depends on the memory model. */
function question(more: object = {}): Scenario {
  const side = (own: 'x' | 'y', other: 'x' | 'y', seen: 'rx' | 'ry') =>
    function* (w: Words) {
      yield* WRITE_ONCE(w[own], 1);
      yield* WRITE_ONCE(w[seen], yield* READ_ONCE(w[other]));
    };
  return scenario<Words>('sb', {
    machine: x86_64({ cpus: 2 }),
    setup: (m) => {
      const word = (name: string, initial = 0): Word => m.memory.variable(name, initial);
      return { x: word('x'), y: word('y'), rx: word('rx', 7), ry: word('ry', 7) };
    },
    run: { CPU0: side('x', 'y', 'ry'), CPU1: side('y', 'x', 'rx') },
    always: { 'one of them sees the other': (v) => v.read(v.s.rx) + v.read(v.s.ry) !== 0 },
    sometimes: {},
    variants: { linux: safe(), tso: fails('property', { model: 'tso' }) },
    ...more,
  });
}

function check(asked: Scenario, variant: string): VariantResult {
  return checkVariant(asked, variant, { limits: {}, now: () => 0 });
}

describe('the memory model', () => {
  test('is sequential consistency unless a variant or the scenario says otherwise', () => {
    expect(check(question(), 'linux')).toMatchObject({ model: 'sc', verdict: 'safe', ok: true });
    expect(check(question(), 'tso')).toMatchObject({ model: 'tso', verdict: 'fails', ok: true });
    expect(check(question({ model: 'tso' }), 'linux')).toMatchObject({ model: 'tso', ok: false });
  });

  test('is part of what a token is about', () => {
    const [asked, other] = [question(), question({ model: 'tso' })];
    const print = (one: Scenario): string => variantFingerprint(one, 'linux');
    expect(print(question({ model: 'sc' }))).toBe(print(asked));
    expect(print(other)).not.toBe(print(asked));
    expect(print(underModel(asked, 'tso'))).toBe(print(other));
  });

  test('can be put over all variants', () => {
    expect(check(underModel(question(), 'sc'), 'tso').verdict).toBe('safe');
    expect(check(underModel(question(), 'tso'), 'linux').verdict).toBe('fails');
  });

  test('is assumed, and of processors that promise less this is said', () => {
    const assumed = (more: object): string | undefined =>
      check(question(more), 'tso').assumptions[0];
    expect(assumed({})).toBe('total store order (x86-TSO)');
    expect(assumed({ machine: arm64({ cpus: 2 }) })).toBe(
      'total store order (x86-TSO), which is more than arm64 promises',
    );
    expect(check(question(), 'linux').assumptions[0]).toBe('sequential consistency');
  });
});

test('a schedule names store buffers by the order of the CPUs', () => {
  const { token } = check(question(), 'tso');
  const schedule = token!.split('/').at(-1)!;
  const kinds = decodeSchedule(schedule).map(({ kind, ordinal }) => `${kind} ${ordinal}`);
  expect(kinds).toContain('buffer 0');
  expect(kinds).toContain('buffer 1');
});
