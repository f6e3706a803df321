import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type * as asking from '../../src/ask/ask.ts';
import type { Diagram } from '../../src/ask/diagram.ts';
import type * as reading from '../../src/ask/read-diagram.ts';
import type * as finding from '../../src/cli/find-scenarios.ts';
import type * as loading from '../../src/cli/load-scenarios.ts';
import type * as minimal from '../../src/explore/minimal.ts';
import type { Program } from '../../src/explore/run.ts';
import type * as lines from '../../src/cli/source-lines.ts';
import type * as diagrams from '../../src/report/diagram.ts';
import type * as facts from '../../src/scenario/facts.ts';
import type * as programs from '../../src/scenario/program.ts';
import { ROOT } from '../cli/gracewalk.ts';
import type * as recording from '../../src/scenario/record.ts';
import type { RunReport } from '../../src/scenario/result.ts';

/**
 * Every counterexample that `check` prints, asked back: it is reachable, and the run that answers is drawn
 * with the same bytes. What `check` prints is the shortest run of the first kind that the variant declares.
 */

/** dist, because that is how scenarios are loaded. */
const dist = (path: string): string => join(ROOT, 'dist', path);
const { askVariant } = (await import(dist('ask/ask.js'))) as typeof asking;
const { readDiagram } = (await import(dist('ask/read-diagram.js'))) as typeof reading;
const { builtInScenarios } = (await import(dist('cli/find-scenarios.js'))) as typeof finding;
const { loadScenarios } = (await import(dist('cli/load-scenarios.js'))) as typeof loading;
const { sourceLines } = (await import(dist('cli/source-lines.js'))) as typeof lines;
const { minimalRun } = (await import(dist('explore/minimal.js'))) as typeof minimal;
const { renderDiagram } = (await import(dist('report/diagram.js'))) as typeof diagrams;
const { columnsOf } = (await import(dist('scenario/facts.js'))) as typeof facts;
const { buildVariant, definitionOf } = (await import(
  dist('scenario/program.js')
)) as typeof programs;
const { recordRun } = (await import(dist('scenario/record.js'))) as typeof recording;

const files = builtInScenarios(join(ROOT, 'scenarios')).map(({ path }) => path);
const loaded = await loadScenarios(
  files,
  (error) => {
    throw error;
  },
  () => {},
);
const source = sourceLines();

const failing = loaded.flatMap(({ scenario }) =>
  Object.entries(scenario.definition.variants)
    .filter(([, { expected }]) => expected === 'fails')
    .map(([variant, { kinds }]) => ({ id: scenario.id, scenario, variant, kind: kinds[0]! })),
);

test('there are many failing variants', () => {
  expect(failing.length).toBeGreaterThan(36);
});

/** With an observer of each invariant in turn, if none is violated without. */
function counterexample({ scenario, variant, kind }: (typeof failing)[number]): RunReport {
  const definition = definitionOf(scenario, variant);
  const invariants = Object.entries(definition.always ?? {}).map(([name, predicate]) => ({
    name,
    predicate,
    mode: 'always' as const,
  }));
  for (const [at, observe] of [undefined, ...invariants].entries()) {
    const build = (): Program =>
      buildVariant(scenario, variant, { traced: true, ...(observe ? { observe } : {}) }).program;
    const { run } = minimalRun(build(), {
      wanted: (violation) => violation.kind === kind,
      maxSwitches: 12,
      maxStates: 2_000_000,
    });
    if (!run) continue;
    const observer = Math.max(0, at - 1);
    const options = { columns: columnsOf(definition), minimal: 'global', kind, observer } as const;
    return recordRun(build(), run.schedule, options);
  }
  throw new Error(`${variant} does not fail`);
}

const pinned = JSON.parse(readFileSync(join(ROOT, 'scenarios/expected.json'), 'utf8')) as Record<
  string,
  { readonly switches?: number }
>;

/** Found soon. The other runs take most of the time. */
const FEW_SWITCHES = 3;

/** All of them in the nightly run (GRACEWALK_ALL); every day one in three of those with few switches. */
const ALL = process.env.GRACEWALK_ALL !== undefined;
const soon = failing.filter(
  ({ id, variant }) => (pinned[`${id} / ${variant}`]?.switches ?? Infinity) <= FEW_SWITCHES,
);
const asked = ALL ? failing : soon.filter((_one, at) => at % 3 === 0);

test('most are found soon, and some of them are asked every day', () => {
  expect(soon.length).toBeGreaterThan(0.7 * failing.length);
  expect(asked.length).toBeGreaterThan(0.2 * failing.length);
});

test.each(asked)('$id / $variant', { timeout: 600_000 }, (one) => {
  const { scenario, variant } = one;
  const run = counterexample(one);
  const drawn = (report: RunReport, layout: 'columns' | 'tagged'): string =>
    renderDiagram(report, { width: 75, layout, detail: 'auto', source });
  const columns = columnsOf(definitionOf(scenario, variant));
  const question = readDiagram(drawn(run, 'columns'), columns, 'columns');
  const tagged = readDiagram(drawn(run, 'tagged'), columns, 'tagged');
  const words = ({ rows }: Diagram): unknown => rows.map(({ column, cell }) => [column, cell]);
  expect(words(tagged)).toEqual(words(question));
  const result = askVariant(scenario, variant, question, {
    title: 'race.txt',
    limits: {},
    now: () => 0,
    plainCalls: new Set(),
    fixTypos: false,
    onlyReach: true,
  });
  expect(result.answer).toBe('reachable');
  // What only the end of a run shows has no row: the diagram does not say that it is about a violation.
  if (!drawn(run, 'columns').includes('!!!')) return;
  for (const layout of ['columns', 'tagged'] as const) {
    expect(drawn(result.run!, layout)).toBe(drawn(run, layout));
  }
});
