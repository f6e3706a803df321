import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GracewalkError } from '../../src/base/errors.ts';
import { builtInScenarios, findScenarios } from '../../src/cli/find-scenarios.ts';

let root = '';
let folder = '';

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'gracewalk-'));
  folder = join(root, 'scenarios');
  const files = [
    'scenarios/top.ts',
    'scenarios/bugs/mremap.ts',
    'scenarios/mm/gup-fast.ts',
    'scenarios/kvm/twice.ts',
    'scenarios/mm/twice.ts',
    'scenarios/mm/_helpers.ts',
    'scenarios/mm/types.d.ts',
    'scenarios/mm/gup-fast.expected.json',
    'here/my-race.ts',
    'here/top.ts',
  ];
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), '');
  }
});

afterAll(() => rmSync(root, { recursive: true }));

function find(...operands: string[]): string[] {
  return findScenarios(operands, folder, join(root, 'here')).map((path) =>
    path.slice(root.length + 1),
  );
}

function refusal(...operands: string[]): string {
  try {
    find(...operands);
  } catch (error) {
    if (!(error instanceof GracewalkError)) throw error;
    const { notes = [], help } = error.details;
    return [`${error.code}: ${error.message}`, ...notes, help].join('\n').replaceAll(root, '');
  }
  return 'accepted';
}

test('built-in scenarios are the .ts files below scenarios, in the order of their paths', () => {
  expect(builtInScenarios(folder).map(({ name }) => name)).toEqual([
    'mremap',
    'twice',
    'gup-fast',
    'twice',
    'top',
  ]);
  expect(builtInScenarios(join(root, 'nowhere'))).toEqual([]);
});

test('no operand means every built-in scenario', () => {
  expect(find()).toHaveLength(5);
});

test('nothing to check is an error', () => {
  expect(() => findScenarios([], join(root, 'nowhere'))).toThrow('no built-in scenarios');
});

test('a name without an ending is a built-in scenario, even if a file is called like it', () => {
  expect(find('gup-fast', 'top')).toEqual(['scenarios/mm/gup-fast.ts', 'scenarios/top.ts']);
});

test('a name with an ending is a file', () => {
  expect(find('my-race.ts', './top.ts')).toEqual(['here/my-race.ts', 'here/top.ts']);
});

test('a file named twice is checked once', () => {
  expect(find('my-race.ts', './my-race.ts', '../here/my-race.ts')).toEqual(['here/my-race.ts']);
});

test('what is not there is an error that helps', () => {
  expect(refusal('gup-fsat')).toMatchInlineSnapshot(`
    "E110: no built-in scenario 'gup-fsat'
    did you mean gup-fast?"
  `);
  expect(refusal('my-race')).toMatchInlineSnapshot(`
    "E110: no built-in scenario 'my-race'
    there are mremap, twice, gup-fast, twice, top
    there is a file here: my-race.ts"
  `);
  expect(refusal('twice')).toContain('scenarios/kvm/twice.ts or');
  expect(refusal('nothing.ts')).toMatchInlineSnapshot(`
    "E114: no file nothing.ts
    looked for /here/nothing.ts
    check the path"
  `);
  expect(refusal('gup-fast.ts')).toContain('the built-in scenario is called gup-fast, without .ts');
});

test('a folder stands for the scenarios in it and below, once each', () => {
  expect(find('../scenarios/mm')).toEqual(['scenarios/mm/gup-fast.ts', 'scenarios/mm/twice.ts']);
  expect(find('../scenarios/mm/', 'gup-fast')).toHaveLength(2);
  expect(find('../scenarios')).toHaveLength(5);
  mkdirSync(join(root, 'empty'), { recursive: true });
  expect(refusal('../empty')).toContain('E114: no scenarios in ../empty');
});
