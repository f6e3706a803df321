import { expect, test } from 'vitest';
import { FIXTURES, ROOT, fixture, gracewalk } from './in-process.ts';

interface Document {
  readonly results: readonly {
    readonly token: string | null;
    readonly verdict: string;
    readonly violation: { readonly kind: string } | null;
  }[];
}

/** The token of the failing run of counter.ts. */
async function token(): Promise<string> {
  const args = ['check', fixture('counter'), '--variant', 'two steps', '--json'];
  const { stdout } = await gracewalk(args);
  const found = (JSON.parse(stdout) as Document).results[0]?.token;
  if (!found) throw new Error(`no token in ${stdout}`);
  return found;
}

test('replay prints the run that check found', async () => {
  const { code, stdout, stderr } = await gracewalk(['replay', await token(), fixture('counter')]);
  // How a diagram looks is the report layer's affair, and tested there.
  expect(stdout).toMatch(
    /^counter \/ two steps: property\n\n'nothing is lost' does not hold\.\n\n/,
  );
  expect(stdout).toMatch(/^ {2}CPU0 +CPU1$/m);
  expect(stdout).toMatch(/value = READ_ONCE\(count\); {2}\/\/ 0$/m);
  expect(stdout).toContain('!!! property');
  expect(stdout).toMatch(/\S\n\n$/);
  expect(stderr).toBe('');
  expect(code).toBe(0);
});

test('the file is found by itself if it is here', async () => {
  const cwd = `${ROOT}${FIXTURES}`;
  const { code, stdout } = await gracewalk(['replay', await token()], { cwd });
  expect(stdout).toContain('property');
  expect(code).toBe(0);
});

test('layout and width are those of check', async () => {
  const args = ['replay', await token(), fixture('counter')];
  const tagged = await gracewalk([...args, '--layout', 'tagged']);
  expect(tagged.stdout).toMatch(/^ +1 \[CPU0\]/m);
  const narrow = await gracewalk([...args, '--width', '48']);
  for (const line of narrow.stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(48);
});

test('a token of another version is followed as far as it goes', async () => {
  const current = await token();
  const renamed = current.replace(/@[0-9a-f]{6}/, '@000000');
  const still = await gracewalk(['replay', renamed, fixture('counter')]);
  expect(still.stderr).toContain('another version');
  expect(still.code).toBe(0);

  const gone = await gracewalk([
    'replay',
    renamed.replace(/\.b\d+-../, '.b9-00'),
    fixture('counter'),
  ]);
  expect(gone.stderr).toContain('[E601]');
  expect(gone.stderr).toContain('token @000000, here @');
  expect(gone.stdout).toBe('');
  expect(gone.code).toBe(2);
});

test('a token that was cut off is refused', async () => {
  const cut = (await token()).slice(0, -4);
  const { code, stderr } = await gracewalk(['replay', cut, fixture('counter')]);
  expect(stderr).toContain('[E601]');
  expect(code).toBe(2);
});

test('a token for another file is refused', async () => {
  const { code, stderr } = await gracewalk(['replay', await token(), fixture('talks')]);
  expect(stderr).toContain('the token is about counter');
  expect(code).toBe(2);
});
