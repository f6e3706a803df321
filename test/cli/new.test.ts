import { mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { ROOT, gracewalk } from './in-process.ts';

const TEMPLATES = readdirSync(`${ROOT}/templates`).map((file) => file.replace(/\.ts$/, ''));
let cwd: string;

beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'gracewalk-new-'));
});

describe.each(TEMPLATES)('the template %s', (template) => {
  test('passes as it is written, with a form that is safe and one that fails', async () => {
    const made = await gracewalk(['new', 'my-race', '--template', template], { cwd });
    expect(made).toEqual({
      code: 0,
      stdout: 'my-race.ts is there.  To explore it: gracewalk check my-race.ts\n',
      stderr: '',
    });
    const { code, stdout } = await gracewalk(['check', 'my-race.ts', '--json'], { cwd });
    expect(code).toBe(0);
    const { results } = JSON.parse(stdout) as { results: { scenario: string; verdict: string }[] };
    expect(new Set(results.map(({ scenario }) => scenario))).toEqual(new Set(['my-race']));
    expect(new Set(results.map(({ verdict }) => verdict))).toEqual(new Set(['safe', 'fails']));
  });
});

test('--list has every template with its question, and writes nothing', async () => {
  const { code, stdout } = await gracewalk(['new', '--list'], { cwd });
  for (const name of TEMPLATES) expect(stdout).toMatch(new RegExp(`^ {2}${name} +\\w.*\\?`, 'm'));
  expect(code).toBe(0);
  expect(readdirSync(cwd)).toEqual([]);
});

test('without a template it is the first of the list', async () => {
  await gracewalk(['new', 'my-race'], { cwd });
  expect(readFileSync(join(cwd, 'my-race.ts'), 'utf8')).toMatch(
    /^\/\/ my-race\.ts: Two CPUs add one/,
  );
});

test('a file that is there is never overwritten', async () => {
  await gracewalk(['new', 'my-race'], { cwd });
  const before = readFileSync(join(cwd, 'my-race.ts'), 'utf8');
  const { code, stderr } = await gracewalk(['new', 'my-race', '--template', 'two-locks'], { cwd });
  expect(stderr).toContain('there is a my-race.ts here already');
  expect(stderr).toContain('[E124]');
  expect(code).toBe(2);
  expect(readFileSync(join(cwd, 'my-race.ts'), 'utf8')).toBe(before);
});

test.each([
  [['new'], 'a new scenario needs a name'],
  [['new', 'My Race'], "'My Race' is no scenario id"],
  [['new', 'pv-tlb-flush'], 'is the name of a built-in scenario'],
  [['new', 'a', '--template', 'two-lock'], 'did you mean two-locks?'],
  [['new', 'a', '--templat', 'two-locks'], 'did you mean --template?'],
  [['nwe', 'a'], 'did you mean new?'],
])('%s is refused', async (args, why) => {
  const { code, stdout, stderr } = await gracewalk(args, { cwd });
  expect(stderr).toContain(why);
  expect(stdout).toBe('');
  expect(code).toBe(2);
  expect(readdirSync(cwd)).toEqual([]);
});
