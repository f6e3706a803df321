import { expect, test } from 'vitest';
import { exitCodeOf, exitCodeOfError, worst } from '../../src/cli/exit-code.ts';
import type { VariantResult, Verdict } from '../../src/scenario/result.ts';

test('the worst of several codes is 5, then 2, 1, 3, 4, 0', () => {
  const order = [0, 4, 3, 1, 2, 5] as const;
  order.forEach((code, at) => expect(worst(order.slice(0, at + 1))).toBe(code));
  expect(worst([])).toBe(0);
});

test('only a verdict as declared is a success', () => {
  const code = (verdict: Verdict, ok: boolean): number =>
    exitCodeOf({ verdict, ok } as VariantResult);
  expect(code('safe', true)).toBe(0);
  expect(code('fails', true)).toBe(0);
  expect(code('safe', false)).toBe(1);
  expect(code('fails', false)).toBe(1);
  expect(code('inconclusive', false)).toBe(3);
  expect(code('inconclusive', true)).toBe(3);
  expect(code('vacuous', false)).toBe(4);
});

test('errors of people are 2, of the engine 5', () => {
  expect(['E101', 'E103', 'E107', 'E301', 'E601', 'E701'].map(exitCodeOfError)).toEqual(
    Array(6).fill(2),
  );
  expect([exitCodeOfError('E303'), exitCodeOfError(null)]).toEqual([5, 5]);
  expect([exitCodeOfError('E201'), exitCodeOfError('E302')]).toEqual([4, 3]);
});
