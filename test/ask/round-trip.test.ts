import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type * as asking from '../../src/ask/ask.ts';
import type { Diagram } from '../../src/ask/diagram.ts';
import type * as reading from '../../src/ask/read-diagram.ts';
import type * as finding from '../../src/cli/find-scenarios.ts';
import type * as loading from '../../src/cli/load-scenarios.ts';
import type * as lines from '../../src/cli/source-lines.ts';
import type * as diagrams from '../../src/report/diagram.ts';
import type * as facts from '../../src/scenario/facts.ts';
import type * as programs from '../../src/scenario/program.ts';
import { ROOT } from '../docs/transcripts.ts';

/**
 * Every counterexample that `check` prints, asked back: it is reachable, and the run that answers is drawn
 * with the same bytes. The golden diagrams are what `check` prints; a test of test/scenarios says so.
 */
const GOLDEN = join(ROOT, 'test/scenarios/golden');

/** dist, because that is how scenarios are loaded. */
const dist = (path: string): string => join(ROOT, 'dist', path);
const { askVariant } = (await import(dist('ask/ask.js'))) as typeof asking;
const { readDiagram } = (await import(dist('ask/read-diagram.js'))) as typeof reading;
const { builtInScenarios } = (await import(dist('cli/find-scenarios.js'))) as typeof finding;
const { loadScenarios } = (await import(dist('cli/load-scenarios.js'))) as typeof loading;
const { sourceLines } = (await import(dist('cli/source-lines.js'))) as typeof lines;
const { renderDiagram } = (await import(dist('report/diagram.js'))) as typeof diagrams;
const { columnsOf } = (await import(dist('scenario/facts.js'))) as typeof facts;
const { definitionOf } = (await import(dist('scenario/program.js'))) as typeof programs;

const files = builtInScenarios(join(ROOT, 'scenarios')).map(({ path }) => path);
const loaded = await loadScenarios(
  files,
  (error) => {
    throw error;
  },
  () => {},
);
const source = sourceLines();

/** As the golden files are named. */
function slug(variant: string): string {
  return variant.replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
}

const failing = loaded.flatMap(({ scenario }) =>
  Object.entries(scenario.definition.variants)
    .filter(([, { expected }]) => expected === 'fails')
    .map(([variant]) => ({ id: scenario.id, scenario, variant })),
);

test('there is a golden diagram for every failing variant', () => {
  for (const { id, variant } of failing) {
    expect(readdirSync(join(GOLDEN, id))).toContain(`${slug(variant)}.columns.txt`);
  }
});

const LAYOUTS = ['columns', 'tagged'] as const;

test.each(failing)('$id / $variant', ({ id, scenario, variant }) => {
  const columns = columnsOf(definitionOf(scenario, variant));
  const [golden, tagged] = LAYOUTS.map((layout) =>
    readFileSync(join(GOLDEN, id, `${slug(variant)}.${layout}.txt`), 'utf8'),
  ) as [string, string];
  const question = readDiagram(golden, columns, 'columns');
  const words = ({ rows }: Diagram): unknown => rows.map(({ column, cell }) => [column, cell]);
  expect(words(readDiagram(tagged, columns, 'tagged'))).toEqual(words(question));
  const result = askVariant(scenario, variant, question, {
    title: 'golden',
    limits: {},
    now: () => 0,
    plainCalls: new Set(),
    fixTypos: false,
    onlyReach: true,
  });
  expect(result.answer).toBe('reachable');
  for (const layout of LAYOUTS) {
    const drawn = renderDiagram(result.run!, { width: 75, layout, detail: 'auto', source });
    expect(drawn.trim().split('\n').length).toBeGreaterThan(3);
    const printed = layout === 'columns' ? golden : tagged;
    expect(printed.trimEnd().endsWith(drawn.trimEnd())).toBe(true);
  }
});
