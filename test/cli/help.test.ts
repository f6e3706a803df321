import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { commands } from '../../src/cli/program.ts';
import { ROOT, gracewalk } from './gracewalk.ts';

const VERBS = ['check', 'replay'] as const;

/** The long flags of a verb: `--width`. */
function flags(verb: string): string[] {
  const program = commands(
    () => {},
    () => {},
  );
  const found = program.commands.find((command) => command.name() === verb);
  return found?.options.map(({ long }) => long ?? '') ?? [];
}

async function help(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await gracewalk(args);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return stdout;
}

test('help is on stdout and lists verbs and exit codes', async () => {
  const text = await help('--help');
  for (const verb of VERBS) expect(text).toMatch(new RegExp(`^ {2}${verb} `, 'm'));
  for (const code of [0, 1, 2, 3, 4, 5])
    expect(text).toMatch(new RegExp(`^ {2}${code} {2}\\w`, 'm'));
  expect(await help('help')).toBe(text);
});

test.each(VERBS)('help of %s has its options in groups, exit codes and examples', async (verb) => {
  const text = await help('help', verb);
  expect(await help(verb, '--help')).toBe(text);
  expect(flags(verb).length).toBeGreaterThan(5);
  for (const flag of flags(verb)) expect(text).toMatch(new RegExp(`^ {2}${flag}[ [\\n]`, 'm'));
  expect(text).not.toMatch(/^Options:$/m);
  expect(text).toContain('Form of the result:');
  expect(text).toContain('Exit codes:');
  expect(text).toMatch(new RegExp(`^ {2}gracewalk ${verb} `, 'm'));
});

test.each([['--help'], ['help', 'check'], ['help', 'replay']])(
  '%s %s fits a terminal of 80 columns',
  async (...args) => {
    for (const line of (await help(...args)).split('\n'))
      expect(line.length).toBeLessThanOrEqual(80);
  },
);

test.each(VERBS)('every option of %s is in the documentation', (verb) => {
  const page = readFileSync(`${ROOT}/docs/command-line.md`, 'utf8');
  for (const flag of flags(verb)) expect(page).toMatch(new RegExp(`^\\| \`${flag}[\` []`, 'm'));
});

test.each(VERBS)('the documentation has no option that %s has not', (verb) => {
  const page = readFileSync(`${ROOT}/docs/command-line.md`, 'utf8');
  const known = new Set([...VERBS.flatMap(flags), '--help', '--version']);
  expect(flags(verb).every((flag) => known.has(flag))).toBe(true);
  for (const [, flag = ''] of page.matchAll(/^\| `(--\w+)/gm)) expect(known).toContain(flag);
});
