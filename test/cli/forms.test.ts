import { expect, test } from 'vitest';
import { fixture, gracewalk } from './in-process.ts';

/** One check in all its forms: the same findings, the same exit code. */

const ODD = ['patch-never-called', 'bounded-loop', 'irqs-left-off', 'spins'].map(fixture);

interface Line {
  readonly type: string;
  readonly [field: string]: unknown;
}

async function lines(...args: string[]): Promise<{ all: Line[]; code: number | null }> {
  const { code, stdout } = await gracewalk(['check', ...args, '--json=lines']);
  expect(stdout).toMatch(/\}\n$/);
  const all = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  return { all, code };
}

test('--ktap: variants are subtests, and a declared failure is XFAIL', async () => {
  const { code, stdout, stderr } = await gracewalk(['check', fixture('counter'), '--ktap']);
  expect(stdout).toBe(`KTAP version 1
1..1
    KTAP version 1
    # Subtest: counter
    1..2
    ok 1 atomic
    ok 2 two steps # XFAIL property
ok 1 counter
`);
  expect(stderr).toBe('');
  expect(code).toBe(0);
});

test('--ktap: what is no pass is not ok, says why, and has its story before it', async () => {
  const args = ['check', ...ODD, fixture('named-export'), '--ktap'];
  const { code, stdout } = await gracewalk(args);
  const results = stdout.split('\n').filter((line) => /^ *(?:not )?ok /.test(line));
  expect(results).toEqual([
    '    ok 1 as it is',
    '    not ok 2 no rcu section # vacuous, patched function rcu_read_lock() is never called',
    'not ok 1 patch-never-called',
    '    not ok 1 only # inconclusive, the bound of 2 rounds was reached',
    'not ok 2 bounded-loop',
    '    not ok 1 only # irq-leak',
    'not ok 3 irqs-left-off',
    '    not ok 1 only # ERROR E301 spin loop in CPU1 makes no progress',
    'not ok 4 spins',
    "not ok 5 test/fixtures/cli/named-export.ts # ERROR E105 test/fixtures/cli/named-export.ts exports its scenario as 'race'",
  ]);
  const before = stdout.slice(0, stdout.indexOf('not ok 1 only # irq-leak'));
  expect(before).toContain('    # CPU0 ends with interrupts off.\n');
  expect(before).toMatch(
    / {4}# Replay: gracewalk replay '\S+' test\/fixtures\/cli\/irqs-left-off\.ts/,
  );
  for (const line of stdout.trimEnd().split('\n')) {
    expect(line).toMatch(/^ *(?:KTAP version 1|1\.\.\d+|#.*|(?:not )?ok \d+ .*)$/);
    expect(line).not.toMatch(/ $/);
  }
  expect(code).toBe(2);
});

test('--ktap: time that ran out is TIMEOUT', async () => {
  const limited = ['check', fixture('long'), '--variant', 'endless', '--ktap', '--limit'];
  const { stdout } = await gracewalk([...limited, 'time=200ms']);
  expect(stdout).toContain('not ok 1 endless # TIMEOUT inconclusive, stopped at time=0.2s');
  const other = await gracewalk([...limited, 'runs=10']);
  expect(other.stdout).toContain('not ok 1 endless # inconclusive, stopped at runs=10');
  expect(other.code).toBe(3);
});

test('--quiet says nothing if all is well', async () => {
  const { code, stdout, stderr } = await gracewalk(['check', fixture('counter'), '--quiet']);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '', stderr: '' });
});

test('--quiet is one line per variant that is not as declared, with its token', async () => {
  const { code, stdout } = await gracewalk(['check', ...ODD, fixture('counter'), '--quiet']);
  expect(stdout).toMatch(
    new RegExp(
      `^patch-never-called / no rcu section: vacuous, patched function rcu_read_lock\\(\\) is never called
bounded-loop / only: inconclusive, the bound of 2 rounds was reached
irqs-left-off / only: irq-leak (irqs-left-off/only@[0-9a-f]{6}/1\\.\\S+)
spins / only: error E301, spin loop in CPU1 makes no progress
$`,
    ),
  );
  expect(code).toBe(2);
  const token = /irq-leak (\S+)/.exec(stdout)?.[1] ?? '';
  const replayed = await gracewalk(['replay', token, fixture('irqs-left-off')]);
  expect(replayed.stdout).toContain('CPU0 ends with interrupts off.');
});

test('--json=lines tells each thing as it happens, from start to end', async () => {
  const { all, code } = await lines(fixture('counter'), fixture('spins'), fixture('named-export'));
  expect(all.map(({ type }) => type)).toEqual([
    ...['start', 'error', 'plan', 'result', 'result', 'error', 'end'],
  ]);
  const [start, error, plan, , failing, , end] = all;
  expect(start).toMatchObject({ schema: 'gracewalk.lines/1' });
  expect(error).toMatchObject({ code: 'E105' });
  expect(plan?.variants).toEqual([
    { scenario: 'counter', variant: 'atomic' },
    { scenario: 'counter', variant: 'two steps' },
    { scenario: 'spins', variant: 'only' },
  ]);
  expect(failing).toMatchObject({ variant: 'two steps', verdict: 'fails', ok: true });
  expect(end).toEqual({ type: 'end', ok: false, notChecked: 1 });
  expect(code).toBe(2);
});

test('a line of --json=lines has what the one document has', async () => {
  const { all } = await lines(fixture('counter'));
  const { stdout } = await gracewalk(['check', fixture('counter'), '--json']);
  const timeless = (value: unknown): unknown =>
    JSON.parse(JSON.stringify(value).replaceAll(/"ms":\d+/g, '"ms":0'));
  const { results } = JSON.parse(stdout) as { results: object[] };
  const own = all.filter(({ type }) => type === 'result');
  expect(timeless(own)).toEqual(timeless(results.map((each) => ({ type: 'result', ...each }))));
});

test('--json=lines says how far it is, as often as --progress says', async () => {
  const limited = [fixture('long'), '--variant', 'endless', '--limit', 'time=3s'];
  const progress = async (...more: string[]): Promise<Line[]> =>
    (await lines(...limited, ...more)).all.filter(({ type }) => type === 'progress');
  const often = await progress('--progress', '0.5');
  expect(often.length).toBeGreaterThanOrEqual(2);
  const runs = often.map((line) => line.runs as number);
  expect(runs).toEqual([...runs].sort((a, b) => a - b));
  expect(often[0]).toMatchObject({ scenario: 'long', variant: 'endless', phase: 'exploring' });
  expect(await progress('--progress', 'off')).toEqual([]);
});

test('--expect asks another question of the same variants', async () => {
  const code = async (expectation: string, ...more: string[]): Promise<number | null> =>
    (await gracewalk(['check', fixture('counter'), '--expect', expectation, ...more])).code;
  const broken = ['--variant', 'two steps'];
  expect(await code('safe')).toBe(1);
  expect(await code('fails')).toBe(1);
  expect(await code('safe', '--variant', 'atomic')).toBe(0);
  expect(await code('fails', ...broken)).toBe(0);
  expect(await code('property', ...broken)).toBe(0);
  expect(await code('property,leak', ...broken)).toBe(1);
  expect(await code('leak', ...broken)).toBe(1);
});

test('--expect safe draws what it refutes, and keeps the token', async () => {
  const args = ['check', fixture('counter'), '--variant', 'two steps'];
  const declared = await gracewalk(args);
  const { stdout } = await gracewalk([...args, '--expect', 'safe']);
  const token = /'(counter\/\S+)'/;
  expect(stdout).toContain('0 of 1 as expected');
  expect(token.exec(stdout)?.[1]).toBe(token.exec(declared.stdout)?.[1]);
  const fails = await gracewalk(['check', fixture('counter'), '--expect', 'fails', '--quiet']);
  expect(fails.stdout).toBe('counter / atomic: safe, expected to fail\n');
});

test('--bisect skips what says neither good nor bad', async () => {
  const code = async (...args: string[]): Promise<number | null> =>
    (await gracewalk(['check', ...args, '--bisect'])).code;
  expect(await code(fixture('counter'))).toBe(0);
  expect(await code(fixture('irqs-left-off'))).toBe(1);
  expect(await code(fixture('unknown-cpu'))).toBe(125);
  expect(await code(fixture('bounded-loop'))).toBe(125);
  expect(await code(fixture('patch-never-called'))).toBe(125);
  expect(await code(fixture('not-deterministic'))).toBe(125);
  expect(await code(fixture('counter'), '--option-of-another-commit')).toBe(125);
});

test('--assumptions lists all of them, variant by variant', async () => {
  const args = ['check', 'table-free-matrix', '--variant', 'RCU, arm64', '--variant', 'TABLE_FREE'];
  const { stdout } = await gracewalk([...args, '--assumptions']);
  expect(stdout).toContain('\nAssumed: sequential consistency;');
  expect(stdout).toContain(`
What each variant assumes:

  TABLE_FREE
    - machine x86-64, 2 CPUs
    - sequential consistency
    - 2 CPUs
    - MMU_GATHER_TABLE_FREE=y
    - MMU_GATHER_RCU_TABLE_FREE=n
    - PT_RECLAIM=n
    - MAX_TABLE_BATCH=4
    - MAX_GATHER_BATCH=8

  RCU, arm64
    - machine`);
  expect((await gracewalk(args)).stdout).not.toContain('What each variant assumes');
  const ktap = await gracewalk([...args, '--assumptions', '--ktap']);
  expect(ktap.stdout).toContain('    # assumed: MMU_GATHER_RCU_TABLE_FREE=n\n');
});

test('--detail min is what people type by hand: no functions around it', async () => {
  const args = ['check', 'pv-steal-time', '--variant', 'host stores', '--detail'];
  const { stdout } = await gracewalk([...args, 'min']);
  expect(stdout).toContain('\n  <host sets KVM_VCPU_PREEMPTED>\n  preempted = READ_ONCE(');
  expect(stdout).not.toMatch(/^ +\w+\(\)$/m);
  expect((await gracewalk([...args, 'auto'])).stdout).toMatch(/^ +record_steal_time\(\)$/m);
});

test('replay has the forms that make sense for one run', async () => {
  const found = await gracewalk(['check', fixture('irqs-left-off'), '--quiet']);
  const run = [/\S+$/m.exec(found.stdout)?.[0] ?? '', fixture('irqs-left-off')];
  const quiet = await gracewalk(['replay', ...run, '--quiet']);
  expect(quiet).toEqual({ code: 0, stdout: '', stderr: '' });
  const line = await gracewalk(['replay', ...run, '--json=lines']);
  const document = await gracewalk(['replay', ...run, '--json']);
  expect(line.stdout).toMatch(/^\{"schema":"gracewalk\.run\/1".*\}\n$/);
  expect(JSON.parse(line.stdout)).toEqual(JSON.parse(document.stdout));
  const gone = await gracewalk(['replay', run[0] ?? '', fixture('counter'), '--quiet']);
  expect(gone.code).toBe(2);
});
