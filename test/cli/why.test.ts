import { describe, expect, test } from 'vitest';
import { complaint, fixture, gracewalk, ROOT } from './in-process.ts';

const SMALL = ['why', 'targeted-ipi', 'smp_mb'];

test('a safe variant has its sets, what is not needed, and how much was explored', async () => {
  const { code, stdout, stderr } = await gracewalk(SMALL);
  expect(stdout.replace(/\(\d+\.\d s\)/, '(... s)')).toMatchInlineSnapshot(`
    "targeted-ipi / smp_mb is safe.  It stops being safe without

      use-after-free of a page table
        1.  local_irq_save() in gup_fast()
        2.  smp_mb() in gup_fast()
        3.  smp_mb() in tlb_remove_table_sync_mm()
        4.  the wait for IPIs in tlb_remove_table_sync_mm()

    Not needed in this variant: with it gone, alone or with one other, nothing
    more goes wrong.
        preempt_disable() in tlb_remove_table_sync_mm()

    15 sets of up to 2 of 5 protections taken away, and each variant that was
    left explored: 220 runs (... s).
    Assumed: total store order (x86-TSO); 2 CPUs; RCU callbacks and the host
    store in order.
    "
  `);
  expect(stderr).toBe('');
  expect(code).toBe(0);
});

test('--show draws the run of a set and says how to keep it', async () => {
  const { stdout } = await gracewalk([...SMALL, '--size', '1', '--show', '3']);
  expect(stdout).toMatch(/pteA unlinked[\s\S]*!!! use-after-free/);
  expect(stdout).toMatch(/\n    without: \['smp_mb\(\) in tlb_remove_table_sync_mm\(\)'\],\n/);
});

test('a failing variant has its run, the order that it takes, and what would stop it', async () => {
  const { code, stdout } = await gracewalk(['why', 'targeted-ipi', 'smp_rmb']);
  expect(stdout).toMatch(/^targeted-ipi \/ smp_rmb fails: use-after-free of a page table\n/);
  expect(stdout).toMatch(/Every run in this order fails[\s\S]* before /);
  expect(stdout).toMatch(/It is safe without\n\n +1\. {2}the patch of freer_mb\(\)\n/);
  expect(code).toBe(0);
});

test('--json is a document with everything', async () => {
  const { stdout } = await gracewalk([...SMALL, '--json', '--show', '1']);
  const document = JSON.parse(stdout) as {
    schema: string;
    verdict: string;
    items: { name: string; needed: boolean }[];
    answers: { n: number; effect: string; without: string[]; run: { steps: unknown[] } | null }[];
    explored: { sets: number };
  };
  expect(document).toMatchObject({ schema: 'gracewalk.why/1', verdict: 'safe', undecided: [] });
  expect(document.answers.map(({ n }) => n)).toEqual(document.answers.map((_answer, at) => at + 1));
  expect(document.answers.map(({ run }) => (run?.steps.length ?? 0) > 5)).toEqual(
    document.answers.map((_answer, at) => at === 0),
  );
  const { items, explored } = document;
  expect(explored.sets).toBe(items.length + (items.length * (items.length - 1)) / 2);
  expect((await gracewalk([...SMALL, '--json=lines', '--size=1'])).stdout.split('\n')).toHaveLength(
    2,
  );
});

describe('a limit', () => {
  test('that left something open is exit 3, and what was not tried is counted', async () => {
    const args = ['why', 'gup-fast-vs-munmap', 'rcu', '--limit', 'time=900ms'];
    const { code, stdout } = await gracewalk(args);
    expect(code).toBe(3);
    expect(stdout).toMatch(/Not tried: \d+ sets, stopped at time=0\.9s\.|not explored to its end/);
    expect(stdout).not.toContain('Not needed');
  });

  test('for each set leaves it undecided', async () => {
    const args = [...SMALL, '--size', '1', '--limit', 'runs=9'];
    const { code, stdout } = await gracewalk(args);
    expect(code).toBe(3);
    expect(stdout).toContain('was not explored to its end: stopped at runs=9.');
  });
});

test('of a variant that never does what it is about, the answer says so: exit 4', async () => {
  const { code, stdout } = await gracewalk(['why', fixture('nobody-reads'), 'linux']);
  expect(code).toBe(4);
  expect(stdout).toContain("Vacuous: never seen in it 'the page is read'.");
  expect(stdout).toContain('the lock lock');
});

test.each([
  ['a variant', ['why', 'targeted-ipi', 'smp_mv'], "did you mean 'smp_mb'?", 'E106'],
  ['a scenario', ['why', 'targetted-ipi', 'smp_mb'], 'did you mean targeted-ipi?', 'E110'],
  ['a kind', [...SMALL, '--kind', 'use-after-fre'], 'did you mean use-after-free?', 'E107'],
  ['a size', [...SMALL, '--size', '9'], '--size takes a whole number from 1 to 4', 'E107'],
  ['a number', [...SMALL, '--show', 'two'], '--show takes the number of a set', 'E107'],
  ['a set that is not there', [...SMALL, '--show', '7'], 'there are 4', 'E107'],
  ['another search', [...SMALL, '--limit', 'switches=3'], 'drop --limit switches=', 'E115'],
  ['a variant left out', ['why', 'targeted-ipi'], "argument 'variant'", 'E115'],
  ['a form', [...SMALL, '--json', '--width', '60'], 'leave one of them out', 'E115'],
])('%s that cannot be is an error with a suggestion', async (_what, args, help, code) => {
  const complained = await complaint(args, ROOT);
  expect(complained).toContain(help);
  expect(complained).toMatch(new RegExp(`\\[${code}\\]\nexit 2$`));
});
