import { expect, test } from 'vitest';
import { fixture, gracewalk } from './in-process.ts';

interface Document {
  readonly results: readonly {
    readonly variant: string;
    readonly model: string;
    readonly verdict: string;
    readonly ok: boolean;
    readonly token: string | null;
    readonly assumptions: readonly string[];
    readonly steps: readonly {
      readonly n: number;
      readonly text: string;
      readonly flushes?: number;
    }[];
  }[];
}

const FILE = fixture('store-buffering');

async function check(...args: readonly string[]): Promise<Document['results']> {
  const { stdout } = await gracewalk(['check', FILE, '--json', ...args]);
  return (JSON.parse(stdout) as Document).results;
}

test('--model puts every variant under that model', async () => {
  const declared = await check();
  expect(declared.map(({ model, verdict }) => [model, verdict])).toEqual([
    ['sc', 'safe'],
    ['sc', 'safe'],
  ]);
  const buffered = await check('--model', 'tso');
  expect(buffered.map(({ model, verdict }) => [model, verdict])).toEqual([
    ['tso', 'safe'],
    ['tso', 'fails'],
  ]);
  expect(buffered.map(({ assumptions }) => assumptions[0])).toEqual(
    Array(2).fill('total store order (x86-TSO)'),
  );
});

test('the headline says which, and stores stand where the program has them', async () => {
  const { stdout, code } = await gracewalk(['check', FILE, '--model', 'tso']);
  expect(stdout).toMatch(/^store-buffering {4}x86-64, 2 CPUs, TSO$/m);
  expect(stdout).toContain(`
  CPU0                                 CPU1
  ----                                 ----
  enter()
    WRITE_ONCE(own->flag, 1);  // in the store buffer
    READ_ONCE(other->flag);  // 0
    WRITE_ONCE(own->inside, 1);  // in the store buffer

                                       enter()
                                         WRITE_ONCE(own->flag, 1);
                                         READ_ONCE(other->flag);  // 0
                                         WRITE_ONCE(own->inside, 1);

  <WRITE_ONCE(own->flag, 1) reaches memory>
  <WRITE_ONCE(own->inside, 1) reaches memory>
  [ 'one at a time' does not hold here ]  // !!! property
`);
  expect(code).toBe(1);
});

test('a run in JSON says which store a flush takes to memory', async () => {
  const [, broken] = await check('--model', 'tso');
  const flushes = broken!.steps.filter((step) => step.flushes !== undefined);
  expect(flushes.length).toBeGreaterThan(0);
  for (const { text, flushes: issued } of flushes) {
    const { text: statement } = broken!.steps[issued! - 1]!;
    expect(text).toBe(`<${statement.replace(/;$/, '')} reaches memory>`);
  }
});

test('a token is replayed under the model that its run was found under', async () => {
  const [, broken] = await check('--model', 'tso');
  const token = broken!.token!;
  const replayed = await gracewalk(['replay', token, FILE]);
  expect(replayed.stdout).toMatch(/^store-buffering \/ no barriers: property$/m);
  expect(replayed.stderr).toBe('');
  expect(replayed.code).toBe(0);
  const said = await gracewalk(['replay', token, FILE, '--model', 'tso']);
  expect(said.stdout).toBe(replayed.stdout);
  const other = await gracewalk(['replay', token, FILE, '--model', 'sc']);
  expect(other.stderr).toContain('token is from another version of store-buffering');
  expect(other.code).toBe(2);
});

test('what holds back a walker on x86 holds it back with store buffers, too', async () => {
  const names = [
    'rcu',
    'ipi',
    'free tables, then flush',
    'native, no rcu',
    'pv, rcu',
    'pv, no rcu',
  ];
  const args = [
    'gup-fast-vs-munmap',
    'pv-tlb-flush',
    ...names.flatMap((name) => ['--variant', name]),
  ];
  const { stdout } = await gracewalk(['check', '--json', '--model', 'tso', ...args]);
  const { results } = JSON.parse(stdout) as Document;
  expect(results.map(({ variant, model, ok }) => [variant, model, ok])).toEqual(
    names.map((name) => [name, 'tso', true]),
  );
});

test('there are two of them', async () => {
  const { stderr, code } = await gracewalk(['check', FILE, '--model', 'pso']);
  expect(stderr).toContain("bad --model 'pso'");
  expect(stderr).toContain('--model is sc or tso');
  expect(code).toBe(2);
});
