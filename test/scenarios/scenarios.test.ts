import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT, runGracewalk } from '../docs/transcripts.ts';

/**
 * Every built-in variant: its verdict, its number of runs, its witnesses, its diagram. Counts live beside
 * the scenarios; `UPDATE_EXPECTED=1 npx vitest run test/scenarios` writes counts and diagrams anew, to be
 * read in the diff.
 */

interface Result {
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
  readonly steps: readonly unknown[];
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
const { stdout, status } = runGracewalk(['check', '--json']);
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

test('check of all built-in scenarios exits 0', () => {
  expect(status).toBe(0);
});

test('the pinned counts are those of the built-in variants, no more and no fewer', () => {
  expect(results.map(key)).toEqual(Object.keys(expected));
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

const failing = results.filter(({ verdict }) => verdict === 'fails');

describe.each(failing.map((result) => [key(result), result] as const))('%s', (_name, result) => {
  const slug = result.variant.replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
  const replayed = (layout: string): string =>
    runGracewalk(['replay', result.token ?? '', '--layout', layout]).stdout;

  test.each(['columns', 'tagged'])('replays to its golden %s diagram', (layout) => {
    const golden = join(ROOT, 'test/scenarios/golden', result.scenario, `${slug}.${layout}.txt`);
    const text = replayed(layout);
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

  test('check draws the same bytes, of a run that is minimal over all', () => {
    const golden = join(ROOT, 'test/scenarios/golden', result.scenario, `${slug}.columns.txt`);
    const diagram = readFileSync(golden, 'utf8').split('\n\n').slice(2).join('\n\n').trimEnd();
    const { stdout: text } = runGracewalk(['check', result.scenario, '--variant', result.variant]);
    expect(diagram).toContain('!!!');
    expect(text).toContain(diagram);
    expect(result.minimal).toBe('global');
  });
});
