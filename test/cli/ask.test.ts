import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { gracewalk, type Outcome } from './in-process.ts';

/** `gracewalk ask` as a person types it. The answers themselves are tested in test/ask. */
const RACE = `
> > I think this can happen:
> >
> >     CPU0                      CPU1
> >     p = rcu_derefrence(gbl_foo);  // -> foo
> >
> >                               kfree_rcu()
> >                               <foo freed>
> >
> >     READ_ONCE(p->a);
> >
> > No?
`;

function ask(text: string, ...args: string[]): Promise<Outcome> {
  return gracewalk(['ask', 'rcu-grace-period', '-', '--variant', 'call_rcu', ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    watch: (child) => child.stdin?.end(text),
  });
}

test('a typing error is refused, with what was meant and what there is', async () => {
  const { code, stdout, stderr } = await ask(RACE);
  expect(stdout).toBe('');
  expect(code).toBe(2);
  expect(stderr).toMatchInlineSnapshot(`
    "error: 'rcu_derefrence' in the question matches no step
      --> stdin, row 1, column CPU0
        p = rcu_derefrence(gbl_foo);  // -> foo
            ^^^^^^^^^^^^^^
    note: CPU0 can execute foo_get_a(), rcu_read_lock(), rcu_dereference(),
          READ_ONCE(), rcu_read_unlock()
    help: did you mean rcu_dereference()?  --fix-typos takes such suggestions
                                                                        [E501]
    "
  `);
});

test('with --fix-typos it is answered, and the answer says how it was read', async () => {
  const { code, stdout, stderr } = await ask(RACE, '--fix-typos');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toContain('call_rcu   UNREACHABLE   after 2 steps of 4');
  expect(stdout).toContain('row 1: rcu_derefrence() read as rcu_dereference().');
  expect(stdout).toContain('<foo freed> (row 3) cannot come next.');
  expect(stdout).toContain('It takes rcu_read_unlock()');
});

test('with --expect it is a test', async () => {
  const as = async (answer: string): Promise<number | null> =>
    (await ask(RACE, '--fix-typos', '--expect', answer)).code;
  expect(await as('unreachable')).toBe(0);
  expect(await as('reachable')).toBe(1);
});

test('a limit that was hit is no answer', async () => {
  const { code, stdout } = await ask(RACE.replace('derefr', 'derefer'), '--limit', 'runs=1');
  expect(code).toBe(3);
  expect(stdout).toContain('INCONCLUSIVE');
  expect(stdout).not.toContain('UNREACHABLE');
});

test('the JSON form has the same answer', async () => {
  const { code, stdout } = await ask(RACE, '--fix-typos', '--json');
  expect(code).toBe(0);
  const { schema, results } = JSON.parse(stdout) as {
    schema: string;
    results: { answer: string; stopsAt: { row: number } }[];
  };
  expect(schema).toBe('gracewalk.ask/1');
  expect(results).toMatchObject([{ answer: 'unreachable', stopsAt: { row: 3 } }]);
});

test('a question may be a file, and the scenario need not be built in', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gracewalk-ask-'));
  writeFileSync(join(folder, 'race.txt'), '[CPU0] spin_lock(lock);\n');
  const { code, stderr } = await gracewalk(['ask', 'rcu-grace-period', join(folder, 'race.txt')]);
  expect(code).toBe(2);
  expect(stderr).toContain("'spin_lock' in the question matches no step");
  expect(stderr).toContain('race.txt, row 1, column CPU0');
});

test.each([
  [['ask', 'rcu-grace-period'], 'rcu-grace-period has no questions of its own', 'E504'],
  [['ask', 'pv-tlb-flush', 'what am I misssing?'], "did you mean 'what am I missing?'", 'E504'],
  [['ask', 'pv-tlb-flush', 'no-such.txt'], 'no such file: no-such.txt', 'E114'],
  [['ask', 'pv-tlb-flsuh', '-'], 'did you mean pv-tlb-flush?', 'E110'],
  [['ask', 'pv-tlb-flush', '--expect', 'reachible'], 'bad --expect', 'E107'],
] as const)('%j', async (args, what, code) => {
  const { code: exit, stderr } = await gracewalk(args);
  expect(exit).toBe(2);
  expect(stderr).toContain(what);
  expect(stderr).toContain(`[${code}]`);
});
