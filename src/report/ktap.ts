import { allAssumptions } from './assumptions.ts';
import { details } from './details.ts';
import { renderError, type PrintableError } from './error-text.ts';
import type { Outcome, Outcomes, ScenarioOutcomes } from './outcome.ts';
import { PLAIN, type TextOptions } from './text-options.ts';
import { phrase } from './verdict.ts';
import type { VariantResult } from '../scenario/result.ts';

/**
 * `--ktap`: KTAP version 1 (linux v6.15:Documentation/dev-tools/ktap.rst). A scenario is a test, its variants
 * are its subtests. Nothing that is not a pass says `ok`, and nothing is called skipped:
 *
 *     ok                   safe, as declared
 *     ok # XFAIL kinds     fails, as declared
 *     not ok # words       another verdict; inconclusive and vacuous among them
 *     not ok # TIMEOUT     inconclusive because of `--limit time=`
 *     not ok # ERROR       an error took the place of a result
 *
 * Diagnostic lines stand before the line they belong to.
 */
export function renderKtap({ scenarios, refusals }: Outcomes, options: TextOptions): string {
  const plain = { ...options, painter: PLAIN, showExpected: false };
  const tests = [
    ...scenarios.map((each) => scenarioTest(each, plain)),
    ...refusals.map(({ about, error }) => errorTest(about, error, plain)),
  ];
  return `${group(tests).join('\n')}\n`;
}

interface Test {
  /** Diagnostic lines, or the results of subtests. */
  readonly before: readonly string[];
  readonly ok: boolean;
  readonly title: string;
  /** A directive or diagnostic data, for behind the `#`. */
  readonly remark: string;
}

function group(tests: readonly Test[], title: string | null = null): string[] {
  return [
    'KTAP version 1',
    ...(title === null ? [] : [`# Subtest: ${name(title)}`]),
    `1..${tests.length}`,
    ...tests.flatMap((test, at) => [...test.before, resultLine(test, at + 1)]),
  ];
}

function resultLine({ ok, title, remark }: Test, number: number): string {
  return `${ok ? 'ok' : 'not ok'} ${number} ${name(title)}${remark === '' ? '' : ` # ${oneLine(remark)}`}`;
}

function scenarioTest({ scenario, outcomes }: ScenarioOutcomes, options: TextOptions): Test {
  const tests = outcomes.map((outcome) => variantTest(outcome, options));
  return {
    before: group(tests, scenario).map((line) => `    ${line}`),
    ok: tests.every(({ ok }) => ok),
    title: scenario,
    remark: '',
  };
}

function variantTest(outcome: Outcome, options: TextOptions): Test {
  const { variant } = outcome;
  switch (outcome.kind) {
    case 'result':
      return resultTest(outcome.result, options);
    case 'error':
      return errorTest(variant, outcome.error, options);
    case 'not-checked':
      return { before: [], ok: false, title: variant, remark: 'not checked' };
  }
}

function resultTest(result: VariantResult, options: TextOptions): Test {
  const { variant, verdict, ok, kinds, limit } = result;
  const assumed = options.assumptions
    ? allAssumptions(result).map((each) => `assumed: ${each}`)
    : [];
  const told = ok ? [] : details(result, options);
  const before = [...assumed, ...told].flatMap(comment);
  if (ok) return { before, ok, title: variant, remark: xfail(verdict, kinds) };
  const timeout = verdict === 'inconclusive' && limit?.name === 'time' ? 'TIMEOUT ' : '';
  return { before, ok, title: variant, remark: `${timeout}${phrase(result)}` };
}

function xfail(verdict: VariantResult['verdict'], kinds: VariantResult['kinds']): string {
  return verdict === 'fails' ? `XFAIL ${kinds.join(', ')}` : '';
}

function errorTest(title: string, error: PrintableError, options: TextOptions): Test {
  return {
    before: comment(renderError(error, options.source, options.shorten)),
    ok: false,
    title,
    remark: ['ERROR', ...(error.code === null ? [] : [error.code]), error.what].join(' '),
  };
}

function comment(text: string): string[] {
  const lines = text.replace(/\n+$/, '').split('\n');
  return lines.map((line) => `# ${line}`.trimEnd());
}

/** A description ends at the first `#`. */
function name(title: string): string {
  return oneLine(title).replaceAll('#', 'no. ');
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
