import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { ROOT, fixture, gracewalk } from './in-process.ts';

interface Document {
  readonly schema: string;
  readonly engine: string;
  readonly ok: boolean;
  readonly notChecked: number;
  readonly errors: readonly { readonly code: string; readonly site?: { readonly line: number } }[];
  readonly results: readonly {
    readonly scenario: string;
    readonly variant: string;
    readonly verdict: string;
    readonly token: string | null;
    readonly steps: readonly { readonly actor: string; readonly at: string | null }[];
  }[];
}

async function json(...args: string[]): Promise<Document & { code: number | null }> {
  const { code, stdout } = await gracewalk([...args, '--json']);
  return { ...(JSON.parse(stdout) as Document), code };
}

const ESCAPE = '\x1b[';

test('no file means every built-in scenario', async () => {
  const { stdout, code } = await gracewalk(['check', '--variant', 'atomic', '--variant', 'lock']);
  expect(stdout).toContain('pv-steal-time');
  expect(stdout).toContain('slab-typesafe-by-rcu');
  expect(code).toBe(0);
});

test('a file without a verb is checked', async () => {
  const { stdout, code } = await gracewalk([fixture('counter')]);
  expect(stdout).toMatch(/atomic +safe/);
  expect(code).toBe(0);
});

test('so is the name of a built-in scenario, from anywhere', async () => {
  const options = { cwd: '/' };
  const args = ['rcu-grace-period', '--variant', 'call_rcu,tree'];
  const { stdout, code } = await gracewalk(args, options);
  expect(stdout).toMatch(/call_rcu, tree +safe/);
  expect(stdout).not.toContain('tso');
  expect(code).toBe(0);
});

test('variants can be named one by one, with options before or after the file', async () => {
  const { results } = await json(
    ...['--variant', 'busy, tree', 'rcu-grace-period', '--variant', 'call_rcu,tso'],
  );
  expect(results.map(({ variant }) => variant)).toEqual(['call_rcu, tso', 'busy, tree']);
});

test('a failure that nobody declared is shown and is 1', async () => {
  const { code, stdout, stderr } = await gracewalk([fixture('irqs-left-off')]);
  expect(stdout).toContain('irq-leak');
  expect(stdout).toContain('flags = local_irq_save();');
  expect(stdout).toContain('[E401]');
  expect(stdout).toContain('irqs-left-off.ts:7:24');
  expect(stderr).toBe('');
  expect(code).toBe(1);
});

test('the replay command that is printed works', async () => {
  const { stdout } = await gracewalk([fixture('irqs-left-off')]);
  const [, token = '', file = ''] = /^Replay: gracewalk replay '(.*)' (.*)$/m.exec(stdout) ?? [];
  const replayed = await gracewalk(['replay', token, file]);
  expect(replayed.stdout).toContain('CPU0 ends with interrupts off.');
  expect(replayed.code).toBe(0);
});

test('E201: a patch of a function that nobody calls is vacuous, 4', async () => {
  const { code, stdout } = await gracewalk([fixture('patch-never-called')]);
  expect(stdout).toMatch(/no rcu section +VACUOUS/);
  expect(stdout).toContain('patched function rcu_read_lock() is never called');
  expect(stdout).toContain('patch-never-called.ts:13:');
  expect(stdout).toContain('[E201]');
  expect(code).toBe(4);
});

test('E302: a bound that was reached is inconclusive, 3', async () => {
  const { code, stdout } = await gracewalk([fixture('bounded-loop')]);
  expect(stdout).toMatch(/only +INCONCLUSIVE/);
  expect(stdout).toContain('the bound of 2 rounds was reached');
  expect(stdout).toContain('[E302]');
  expect(code).toBe(3);
});

test('E302: so is a word that somebody looks at and a further round would have changed', async () => {
  const { code, stdout } = await gracewalk([fixture('looked-at-in-passing')]);
  expect(stdout).toMatch(/only +INCONCLUSIVE/);
  expect(stdout).toContain('a further round of a loop was not tried');
  expect(stdout).toContain('looked-at-in-passing.ts:32:');
  expect(stdout).toContain('[E302]');
  expect(code).toBe(3);
});

test.each([
  ['runs=100', 'runs'],
  ['steps=5000', 'steps'],
  ['time=300ms', 'time'],
])('--limit %s ends the search as inconclusive, 3', async (limit, name) => {
  const args = ['check', fixture('long'), '--variant', 'endless', '--limit', limit];
  const { code, stdout, stderr } = await gracewalk(args);
  expect(stdout).toMatch(/endless +INCONCLUSIVE/);
  expect(stdout).toContain(`stopped at ${name}=`);
  expect(stderr).toBe('');
  expect(code).toBe(3);
});

test('of several codes the worst is returned', async () => {
  const vacuous = fixture('patch-never-called');
  const bound = fixture('bounded-loop');
  const leak = fixture('irqs-left-off');
  const fine = fixture('counter');
  const code = async (...files: string[]): Promise<number | null> =>
    (await gracewalk(['check', ...files])).code;
  expect(await code(fine, vacuous)).toBe(4);
  expect(await code(fine, vacuous, bound)).toBe(3);
  expect(await code(fine, vacuous, bound, leak)).toBe(1);
  expect(await code(fine, vacuous, bound, leak, fixture('unknown-cpu'))).toBe(2);
  expect(await code(fixture('not-deterministic'), fixture('unknown-cpu'), leak)).toBe(5);
});

test('--json is one document with the runs in it', async () => {
  const { schema, engine, ok, errors, notChecked, results, code } = await json(fixture('counter'));
  expect(schema).toBe('gracewalk.result/1');
  expect(engine).toMatch(/^\d+\.\d+\.\d+/);
  expect({ ok, errors, notChecked, code }).toEqual({
    ok: true,
    errors: [],
    notChecked: 0,
    code: 0,
  });
  expect(results.map(({ variant, verdict }) => [variant, verdict])).toEqual([
    ['atomic', 'safe'],
    ['two steps', 'fails'],
  ]);
  expect(results[1]?.token).toMatch(/^counter\/twosteps@[0-9a-f]{6}\/1\./);
  expect(results[1]?.steps[0]).toMatchObject({ actor: 'CPU0', at: 'counter.ts:16' });
});

test('--json is not ok if something was not checked', async () => {
  const { ok, errors, notChecked, results, code } = await json(
    ...['check', fixture('counter'), fixture('spins'), fixture('named-export')],
  );
  expect(ok).toBe(false);
  expect(results).toHaveLength(2);
  expect(notChecked).toBe(1);
  expect(errors.map((error) => error.code)).toEqual(['E105', 'E301']);
  expect(code).toBe(2);
});

test('colour is only on terminals, unless it is asked for', async () => {
  const args = ['check', fixture('counter')];
  const plain = await gracewalk(args);
  expect(plain.stdout).not.toContain(ESCAPE);
  const times = /\d+\.\d s/g;
  for (const [more, env] of [
    [['--color', 'always'], {}],
    [[], { FORCE_COLOR: '1' }],
    [['--color', 'always'], { NO_COLOR: '1' }],
  ] as const) {
    const { stdout } = await gracewalk([...args, ...more], { env });
    expect(stdout).toContain(ESCAPE);
    // The text is the same without.
    // eslint-disable-next-line no-control-regex
    const text = stdout.replace(/\x1b\[\d+m/g, '');
    expect(text.replace(times, '')).toBe(plain.stdout.replace(times, ''));
  }
  const no = await gracewalk(args, { env: { FORCE_COLOR: '1', NO_COLOR: '1' } });
  expect(no.stdout).not.toContain(ESCAPE);
  const never = await gracewalk([...args, '--color', 'never'], { env: { FORCE_COLOR: '1' } });
  expect(never.stdout).not.toContain(ESCAPE);
});

test('--layout and --width reach the diagrams', async () => {
  const args = ['check', 'pv-steal-time', '--variant', 'host stores'];
  const { stdout } = await gracewalk([...args, '--layout', 'tagged']);
  expect(stdout).toMatch(/^ +1 \[vCPU0\] /m);
  const widest = async (width: string): Promise<number> => {
    const text = (await gracewalk([...args, '--width', width])).stdout;
    const diagram = text.slice(text.indexOf('\n  vCPU0'), text.indexOf('Fewest'));
    return Math.max(...diagram.split('\n').map(({ length }) => length));
  };
  expect(await widest('75')).toBeLessThanOrEqual(75);
  expect(await widest('120')).toBeGreaterThan(75);
});

test('the program can be started through a link, as npm does', () => {
  const folder = mkdtempSync(`${tmpdir()}/gracewalk-`);
  symlinkSync(`${ROOT}dist/cli/main.js`, `${folder}/gracewalk`);
  const out = execFileSync(`${folder}/gracewalk`, ['--version'], { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
});
