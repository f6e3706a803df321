import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { commands } from '../../src/cli/program.ts';
import { ROOT, complaint, gracewalk } from './in-process.ts';

const VERBS = [
  'check',
  'ask',
  'why',
  'replay',
  'matrix',
  'new',
  'bugs',
  'decode',
  'walk',
  'explain',
] as const;

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
  expect(flags(verb).length).toBeGreaterThan(2);
  for (const flag of flags(verb))
    expect(text).toMatch(new RegExp(`^ {2}(?:-\\w, )?${flag}[ [\\n]`, 'm'));
  expect(text).not.toMatch(/^Options:$/m);
  expect(text).toContain('Form of the result:');
  expect(text).toContain('Exit codes:');
  expect(text).toMatch(new RegExp(`^ {2}gracewalk ${verb} `, 'm'));
});

test.each([['--help'], ...VERBS.map((verb) => ['help', verb])])(
  '%s %s fits a terminal of 80 columns',
  async (...args) => {
    for (const line of (await help(...args)).split('\n'))
      expect(line.length).toBeLessThanOrEqual(80);
  },
);

/** The part of the page that is about a verb. */
function section(verb: string): string {
  const page = readFileSync(`${ROOT}/docs/command-line.md`, 'utf8');
  return page.split(/^## /m).find((part) => part.startsWith(`\`gracewalk ${verb}\``)) ?? '';
}

test.each(VERBS)('the documentation has the options of %s, and no others', (verb) => {
  const documented = [...section(verb).matchAll(/^- `(--[\w-]+)/gm)].map(([, flag]) => flag);
  expect(new Set(documented)).toEqual(new Set(flags(verb)));
});

test('help on a verb that is none suggests the verb', async () => {
  expect(await complaint(['help', 'chck'], ROOT)).toMatchInlineSnapshot(`
    "error: there is no verb 'chck' to print help for
    note: verbs are check, ask, why, replay, matrix, new, bugs, decode, walk,
          explain, help
    help: did you mean check?                                           [E115]
    exit 2"
  `);
});

test('the token in the help of replay is one, whatever the scenario has become', async () => {
  const [, token = ''] = /gracewalk replay '([^']+)'/.exec(await help('replay', '--help')) ?? [];
  const { code, stdout } = await gracewalk(['replay', token]);
  expect(stdout).toContain('// !!! use-after-free');
  expect(code).toBe(0);
});
