import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import nested from '../../scenarios/mm/nested-unmapping.ts';
import removal from '../../scenarios/mm/fault-vs-table-removal.ts';
import { builtInScenarios } from '../../src/cli/find-scenarios.ts';
import type { Scenario } from '../../src/index.ts';
import { missing, partners, survey, without } from '../../src/why/survey.ts';
import { ROOT } from '../cli/gracewalk.ts';
import {
  isSpare,
  problems,
  protectionsPage,
  rowsOf,
  type Protections,
  type Reasons,
  type Row,
} from './protections.ts';

/** That every protection is needed somewhere, or that it is said why it is there. */

const SCENARIOS = join(ROOT, 'scenarios');

function json(path: string): unknown {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
}

const known = json('scenarios/protections.json') as Protections;
const reasons = json('scenarios/spare-protections.json') as Reasons;

async function scenarioOf(name: string): Promise<Scenario> {
  const file = builtInScenarios(SCENARIOS).find((one) => one.name === name);
  const module = (await import(file?.path ?? name)) as { default: Scenario };
  return module.default;
}

test('each protection is needed somewhere or has a reason, and none has both', () => {
  expect(problems(known.rows, reasons)).toEqual([]);
});

test('the page says what was found; `npm run protections` writes both', () => {
  expect(readFileSync(join(ROOT, 'docs/protections.md'), 'utf8')).toBe(
    protectionsPage(known, reasons),
  );
});

const shown = known.rows.flatMap(({ name, alone, set }) => {
  if (alone) return [{ without: [name], ...alone }];
  return set ? [{ without: [name, set.with], ...set }] : [];
});

test.each(shown)('without $without, $scenario / $variant fails', async (example) => {
  const { scenario, variant, kind, runs } = example;
  const found = without(await scenarioOf(scenario), variant, example.without);
  expect(found).toEqual({ kind, runs });
});

describe('a survey', () => {
  const surveyed = [survey(removal, 'the PMD entry is read again'), survey(removal, 'munmap')];
  const rows = rowsOf(surveyed, []);
  const row = (name: string): Row | undefined => rows.find((each) => each.name === name);

  test('finds what the page has', () => {
    const names = new Set(known.rows.map(({ name }) => name));
    expect(rows.filter(({ name }) => !names.has(name))).toEqual([]);
    const spare = new Set(known.rows.filter(isSpare).map(({ name }) => name));
    expect(rows.filter(({ name, alone }) => alone !== null && spare.has(name))).toEqual([]);
  });

  test('tells what is needed alone from what is not', () => {
    expect(row('the re-check of the PMD entry in pte_offset_map_lock()')).toMatchObject({
      variants: 2,
      needed: 1,
      alone: { variant: 'the PMD entry is read again', kind: 'leak' },
    });
    expect(row('preempt_disable() in flush_tlb_mm_range()')?.alone ?? null).toBeNull();
  });

  test('pairs a protection with those that are not needed alone, nor a part of it', () => {
    const [one] = surveyed;
    const all = one?.protections.filter(({ alone }) => 'safe' in alone).map(({ name }) => name);
    const [first = ''] = all ?? [];
    const others = one ? partners(one, first) : [];
    expect(others).not.toContain(first);
    expect(others).not.toContain('the re-check of the PMD entry in pte_offset_map_lock()');
    expect(all).toEqual(expect.arrayContaining(others));
  });

  test('knows what a broken twin does without', () => {
    expect(missing(removal, 'not read again')).toEqual([
      'the re-check of the PMD entry in pte_offset_map_lock()',
    ]);
    expect(missing(nested, 'flush if nested')).toEqual([]);
  });
});

describe('reasons', () => {
  const spare = { name: 'x() in f()', variants: 1, needed: 0, alone: null, set: null, twin: null };
  const row: Row = { ...spare, undecided: [] };
  const needed: Row = { ...row, alone: { scenario: 's', variant: 'v', kind: 'leak', runs: 1 } };

  test('are missed where there is none', () => {
    expect(problems([row], {})).toEqual([expect.stringContaining('x() in f()')]);
    expect(problems([row], { 'x()': 'of the kind' })).toEqual([]);
    expect(problems([row], { 'x() in f()': 'of the place' })).toEqual([]);
  });

  test('are too many where the protection is needed, or another reason says it', () => {
    expect(problems([needed], { 'x() in f()': 'why' })).toHaveLength(1);
    expect(problems([needed], { 'x()': 'why' })).toHaveLength(1);
    expect(problems([row], { 'x()': 'why', 'x() in f()': 'why' })).toHaveLength(1);
  });
});
