import { expect, test } from 'vitest';
import { renderKtap } from '../../src/report/ktap.ts';
import type { Outcome } from '../../src/report/outcome.ts';
import { renderQuiet } from '../../src/report/quiet.ts';
import { PLAIN, type TextOptions } from '../../src/report/text-options.ts';
import type { VariantResult } from '../../src/scenario/result.ts';
import { result } from './make.ts';
import { SAMPLE, SAMPLE_COLUMNS, SAMPLE_SOURCE } from './sample.ts';

const OPTIONS: TextOptions = {
  width: 75,
  layout: 'columns',
  detail: 'auto',
  source: SAMPLE_SOURCE,
  painter: { good: () => 'green', bad: () => 'red', warn: () => 'yellow' },
  showExpected: true,
  assumptions: false,
  shorten: (file) => file,
};

const failing = result({
  variant: 'pv, no rcu',
  verdict: 'fails',
  kinds: ['use-after-free'],
  expected: { verdict: 'fails', kinds: ['use-after-free'] },
  run: SAMPLE,
  token: 'pv-tlb-flush/pv,norcu@b3c9f1/1.a2-xy',
});

const of = (each: VariantResult): Outcome => ({
  kind: 'result',
  variant: each.variant,
  result: each,
});

function lines(...results: readonly VariantResult[]): string[] {
  const scenarios = [{ scenario: 'pv-tlb-flush', outcomes: results.map(of) }];
  return renderKtap({ scenarios, refusals: [] }, OPTIONS).split('\n');
}

/** The line of the only variant, and what --quiet says of it. */
function both(more: Partial<VariantResult>): [string | undefined, string] {
  const each = result({ variant: 'x', ok: false, ...more });
  const scenarios = [{ scenario: 's', outcomes: [of(each)] }];
  const ktap = renderKtap({ scenarios, refusals: [] }, OPTIONS);
  const line = ktap.split('\n').find((text) => text.startsWith('    not ok'));
  return [line?.trim(), renderQuiet({ scenarios, refusals: [] })];
}

test('what is as declared has no diagnostics', () => {
  expect(lines(result(), failing)).toEqual([
    'KTAP version 1',
    '1..1',
    '    KTAP version 1',
    '    # Subtest: pv-tlb-flush',
    '    1..2',
    '    ok 1 pv, rcu',
    '    ok 2 pv, no rcu # XFAIL use-after-free',
    'ok 1 pv-tlb-flush',
    '',
  ]);
});

test('an undeclared failure has its diagram before it, without colours', () => {
  const text = lines({ ...failing, expected: { verdict: 'safe', kinds: [] }, ok: false }).join(
    '\n',
  );
  const diagram = SAMPLE_COLUMNS.trimEnd().replace(/^/gm, '    # ').replace(/ +$/gm, '');
  expect(text).toContain(diagram);
  expect(text.indexOf(diagram)).toBeLessThan(text.indexOf('not ok 1 pv, no rcu # use-after-free'));
  expect(text).not.toContain('red');
});

test('every verdict that is no pass is named, alike in --quiet', () => {
  const declared = { verdict: 'fails', kinds: ['use-after-free'] } as const;
  expect(both({ expected: declared })).toEqual([
    'not ok 1 x # safe, expected to fail with use-after-free',
    's / x: safe, expected to fail with use-after-free\n',
  ]);
  expect(both({ expected: declared, verdict: 'fails', kinds: ['leak'], token: 's/x@0/1' })).toEqual(
    [
      'not ok 1 x # leak, expected to fail with use-after-free',
      's / x: leak, expected to fail with use-after-free s/x@0/1\n',
    ],
  );
  expect(both({ verdict: 'vacuous', sometimes: { 'it retries': 'never', b: 'seen' } })).toEqual([
    "not ok 1 x # vacuous, never seen: 'it retries'",
    "s / x: vacuous, never seen: 'it retries'\n",
  ]);
  const limit = { name: 'memory', value: 64 * 2 ** 20 };
  expect(both({ verdict: 'inconclusive', limit })).toEqual([
    'not ok 1 x # inconclusive, stopped at memory=64M',
    's / x: inconclusive, stopped at memory=64M\n',
  ]);
});

test('a failure as declared, by a patch that nothing calls, is not ok', () => {
  const neverCalled = [{ name: 'rcu_read_lock', site: null }];
  expect(both({ ...failing, variant: 'x', ok: false, neverCalled, token: null })).toEqual([
    'not ok 1 x # use-after-free, patched function rcu_read_lock() is never called',
    's / x: use-after-free, patched function rcu_read_lock() is never called\n',
  ]);
});

test('a name cannot end the description or the line', () => {
  expect(lines(result({ variant: 'cpu #1\nok 2 fake' }))).toContain('    ok 1 cpu no. 1 ok 2 fake');
});

test('errors and what was not reached have their lines, and fail their scenario', () => {
  const error = { code: 'E301', what: 'spin loop', details: {} };
  const outcomes: Outcome[] = [
    of(result()),
    { kind: 'error', variant: 'b', error },
    { kind: 'not-checked', variant: 'c' },
  ];
  const refusals = [{ about: 'a.ts', error: { ...error, code: null } }];
  const text = renderKtap({ scenarios: [{ scenario: 's', outcomes }], refusals }, OPTIONS);
  expect(text.split('\n').filter((line) => / ok |^ok|^not/.test(line))).toEqual([
    '    ok 1 pv, rcu',
    '    not ok 2 b # ERROR E301 spin loop',
    '    not ok 3 c # not checked',
    'not ok 1 s',
    'not ok 2 a.ts # ERROR spin loop',
  ]);
});

test('nothing planned and nothing refused is an empty plan', () => {
  expect(renderKtap({ scenarios: [], refusals: [] }, { ...OPTIONS, painter: PLAIN })).toBe(
    'KTAP version 1\n1..0\n',
  );
});
