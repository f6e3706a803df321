import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT, runGracewalk } from '../cli/gracewalk.ts';
import { executed, page } from './transcripts.ts';

/** Documentation runs. `UPDATE_DOCS=1 npx vitest run test/docs` writes what the program prints now. */
const PAGES = [
  'README.md',
  'docs/architecture.md',
  'docs/asking.md',
  'docs/command-line.md',
  'docs/entry-formats.md',
  'docs/tour.md',
  'docs/reading-diagrams.md',
  'docs/limitations.md',
  'docs/why.md',
  'docs/kvm.md',
];

describe.each(PAGES)('%s', (name) => {
  test('shows what the program prints', { timeout: 300_000 }, async () => {
    // The tour writes files, as whoever follows it does.
    const folder = name === 'docs/tour.md' ? mkdtempSync(join(tmpdir(), 'gracewalk-tour-')) : null;
    const now = await executed(page(name), folder);
    if (process.env.UPDATE_DOCS) writeFileSync(join(ROOT, name), now);
    expect(page(name)).toBe(now);
  });

  test('has no line over 110 columns and no dead relative link', () => {
    for (const line of page(name).split('\n')) expect(line.length).toBeLessThanOrEqual(110);
    for (const [, target = ''] of page(name).matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
      expect(() => readFileSync(join(ROOT, dirname(name), target))).not.toThrow(/ENOENT/);
    }
  });
});

test.each([
  ['README.md', 3],
  ['docs/asking.md', 4],
  ['docs/command-line.md', 5],
  ['docs/reading-diagrams.md', 2],
  ['docs/limitations.md', 1],
])('every transcript of %s is a run, not a stub', (name, least) => {
  const blocks = [...page(name).matchAll(/^```console\n\$ gracewalk [^\n]*\n([\s\S]*?)^```$/gm)];
  expect(blocks.length).toBeGreaterThanOrEqual(least);
  for (const [, body = ''] of blocks) expect(body.length).toBeGreaterThan(200);
});

test('the scenario in the README is checked and safe', () => {
  const code = /```ts\n(\/\/ my-race\.ts[\s\S]*?)```/.exec(page('README.md'))?.[1] ?? '';
  const folder = mkdtempSync(join(tmpdir(), 'gracewalk-readme-'));
  const file = join(folder, 'my-race.ts');
  writeFileSync(file, code);
  const { stdout, status } = runGracewalk(['check', file]);
  expect(stdout).toMatch(/linux +safe/);
  expect(status).toBe(0);
});

test('the list of errors has the codes that the program has, and no others', () => {
  const listed = [...page('docs/command-line.md').matchAll(/^\| (E\d{3}) /gm)].map(
    ([, code]) => code,
  );
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' });
  const used = files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => [
      ...readFileSync(join(ROOT, 'src', file), 'utf8').matchAll(/'(E\d{3})'|\[(E\d{3})\]/g),
    ])
    .map(([, quoted, bracketed]) => quoted ?? bracketed);
  expect(new Set(listed)).toEqual(new Set(used));
});
