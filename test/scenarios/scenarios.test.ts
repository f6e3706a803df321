import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type * as finding from '../../src/cli/find-scenarios.ts';
import type * as loading from '../../src/cli/load-scenarios.ts';
import type * as rendering from '../../src/cli/render.ts';
import type * as replaying from '../../src/cli/replay-run.ts';
import { ROOT, runGracewalk } from '../cli/gracewalk.ts';
import { ids, mutationsPage, type Shown } from './mutations.ts';

/**
 * Every built-in variant: its verdict, its number of runs, its witnesses, its diagram. Counts live beside
 * the scenarios; `UPDATE_EXPECTED=1 npx vitest run test/scenarios` writes counts and diagrams anew, to be
 * read in the diff. Every day it is every other scenario; before a change goes in, all of them (GRACEWALK_ALL).
 */

interface Result extends Shown {
  readonly scenario: string;
  readonly variant: string;
  readonly verdict: string;
  readonly expected: string;
  readonly ok: boolean;
  readonly kinds: readonly string[];
  readonly explored: { readonly runs: number; readonly exhaustive: boolean };
  readonly sometimes: Readonly<Record<string, string>>;
  readonly switches?: number;
  readonly minimal?: string;
  readonly steps: readonly { readonly violation?: unknown }[];
  readonly token: string | null;
}

interface Expected {
  readonly runs: number;
  readonly kinds: readonly string[];
  readonly switches?: number;
  readonly steps?: number;
}

const update = Boolean(process.env.UPDATE_EXPECTED);
const EXPECTED = join(ROOT, 'scenarios', 'expected.json');
const ALL = update || process.env.GRACEWALK_ALL !== undefined;

/** dist, because that is how scenarios are loaded. */
const dist = (path: string): string => join(ROOT, 'dist/cli', path);
const { loadScenarios } = (await import(dist('load-scenarios.js'))) as typeof loading;
const { replay } = (await import(dist('replay-run.js'))) as typeof replaying;
const { renderReplay } = (await import(dist('render.js'))) as typeof rendering;
const { builtInScenarios } = (await import(dist('find-scenarios.js'))) as typeof finding;
const files = builtInScenarios(join(ROOT, 'scenarios')).map(({ path }) => path);
const loaded = await loadScenarios(
  files,
  (error) => {
    throw error;
  },
  () => {},
);

const checked = files.filter((_file, at) => ALL || at % 2 === 0);
const { stdout, status } = runGracewalk(['check', ...(ALL ? [] : checked), '--json']);
const { results } = JSON.parse(stdout) as { results: readonly Result[] };
const key = ({ scenario, variant }: Result): string => `${scenario} / ${variant}`;

function facts(result: Result): Expected {
  const { explored, kinds, switches, steps } = result;
  return {
    runs: explored.runs,
    kinds,
    ...(switches === undefined ? {} : { switches, steps: steps.length }),
  };
}

if (update) {
  const table = Object.fromEntries(results.map((result) => [key(result), facts(result)]));
  writeFileSync(EXPECTED, `${JSON.stringify(table, null, 2)}\n`);
}
const expected = JSON.parse(readFileSync(EXPECTED, 'utf8')) as Record<string, Expected>;

test('check of the built-in scenarios exits 0', () => {
  expect(status).toBe(0);
});

test('the pinned counts are those of the built-in variants, no more and no fewer', () => {
  const variants = loaded.flatMap(({ scenario: { id, definition } }) =>
    Object.keys(definition.variants).map((variant) => `${id} / ${variant}`),
  );
  expect(variants).toEqual(Object.keys(expected));
  expect(results.length).toBeGreaterThan((ALL ? 0.99 : 0.4) * variants.length);
});

describe.each(results.map((result) => [key(result), result] as const))('%s', (name, result) => {
  test('has the verdict it declares, with the pinned counts', () => {
    expect(result.ok).toBe(true);
    expect(result.verdict).toBe(result.expected);
    expect(facts(result)).toEqual(expected[name]);
  });

  test('was explored to the end and is not vacuous', () => {
    expect(result.explored.exhaustive).toBe(true);
    expect(result.explored.runs).toBeGreaterThan(1);
    if (result.verdict !== 'safe') return;
    expect(Object.keys(result.sometimes).length).toBeGreaterThan(0);
    expect(new Set(Object.values(result.sometimes))).toEqual(new Set(['seen']));
  });
});

describe('the table of ids', () => {
  const shown = new Set(
    loaded.flatMap(({ scenario }) =>
      Object.values(scenario.definition.variants).flatMap(({ shows }) => shows ?? []),
    ),
  );

  test('knows every id that a variant shows', () => {
    const known = new Set(ids.map(({ id }) => id));
    expect([...shown].filter((id) => !known.has(id) && !id.startsWith('bug:'))).toEqual([]);
  });

  test.each(ids)('$id is shown, or waits for a stated reason', ({ id, waits }) => {
    expect(shown.has(id)).toBe(waits === undefined);
  });

  test.runIf(ALL)('docs/mutations.md is what the scenarios show', () => {
    const page = join(ROOT, 'docs', 'mutations.md');
    if (update) writeFileSync(page, mutationsPage(results));
    expect(readFileSync(page, 'utf8')).toBe(mutationsPage(results));
  });
});

const failing = results.filter(({ verdict }) => verdict === 'fails');

/** What the program does, without a process for each token. */
function replayed({ scenario, token }: Result, layout: 'columns' | 'tagged'): string {
  const found = loaded.find((one) => one.scenario.id === scenario)!;
  const options = { width: 75, layout, detail: 'auto', colored: false } as const;
  return renderReplay(replay(found.scenario, token ?? ''), 'text', options);
}

function goldenOf({ scenario, variant }: Result, layout: string): string {
  const slug = variant.replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
  return join(ROOT, 'test/scenarios/golden', scenario, `${slug}.${layout}.txt`);
}

describe.each(failing.map((result) => [key(result), result] as const))('%s', (_name, result) => {
  test.each(['columns', 'tagged'] as const)('replays to its golden %s diagram', (layout) => {
    const golden = goldenOf(result, layout);
    const text = replayed(result, layout);
    if (update) {
      mkdirSync(dirname(golden), { recursive: true });
      writeFileSync(golden, text);
    }
    expect(text).toBe(readFileSync(golden, 'utf8'));
    for (const line of text.split('\n')) {
      expect(line).toMatch(/^[ -~]*$/); // ASCII, spaces only
      expect(line.length).toBeLessThanOrEqual(75); // fits a commit message
      expect(line).toBe(line.trimEnd());
    }
  });
});

test.each(failing.map((result) => [key(result), result] as const))(
  '%s has a run that is minimal over all, with the violation in it',
  (_name, result) => {
    const diagram = readFileSync(goldenOf(result, 'columns'), 'utf8');
    if (result.kinds.includes('deadlock')) expect(diagram).toMatch(/ waits for /);
    // What is wrong with a final state, as a deadlock is, is the fault of no step.
    const isStep = result.steps.some(({ violation }) => Boolean(violation));
    expect(diagram.includes('!!!')).toBe(isStep);
    expect(result.minimal).toBe('global');
  },
);

/** The program as people run it: a process each, so a variant of every eighth scenario. */
const firsts = failing
  .filter(({ scenario }, at) => failing.findIndex((other) => other.scenario === scenario) === at)
  .filter((_result, at) => at % 8 === 0);

test.each(firsts.map((result) => [key(result), result] as const))(
  '%s: the program draws the same bytes',
  (_name, result) => {
    const { stdout: text } = runGracewalk(['check', result.scenario, '--variant', result.variant]);
    const golden = readFileSync(goldenOf(result, 'columns'), 'utf8');
    expect(text).toContain(golden.split('\n\n').slice(2).join('\n\n').trimEnd());
  },
);

test.each(['columns', 'tagged'])('the program replays a token in %s', (layout) => {
  for (const result of firsts.slice(0, 4)) {
    const { stdout: text } = runGracewalk(['replay', result.token ?? '', '--layout', layout]);
    expect(text).toBe(readFileSync(goldenOf(result, layout), 'utf8'));
  }
});
