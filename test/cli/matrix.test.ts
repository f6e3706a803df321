import { describe, expect, test } from 'vitest';
import { complaint, fixture, gracewalk, ROOT } from './in-process.ts';

interface Document {
  readonly ok: boolean;
  readonly notExplored: number;
  readonly cells: readonly {
    readonly variant: string;
    readonly machine: string;
    readonly model: string;
    readonly declared: boolean;
    readonly notApplicable: string | null;
    readonly verdict: string | null;
    readonly kinds: readonly string[];
    readonly ok: boolean | null;
  }[];
}

async function cells(...args: string[]): Promise<Document> {
  const { code, stdout, stderr } = await gracewalk(['matrix', ...args, '--json']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout) as Document;
}

test('the table of a scenario has a row per variant and a column per machine and model', async () => {
  const { code, stdout, stderr } = await gracewalk(['matrix', 'targeted-ipi']);
  expect(stdout.replace(/\(\d+\.\d s\)/, '(... s)')).toMatchInlineSnapshot(`
    "targeted-ipi

                                 x86_64 SC  x86_64 TSO
      smp_mb                     safe       safe
      smp_rmb                    safe       use-after-free
      walker without smp_mb      safe       use-after-free
      smp_rmb, sc                safe       - [1]
      walker without smp_mb, sc  safe       - [1]

      [1] does not apply: it is about SC

    10 cells: 6 safe, 2 fail, 2 without a result.  5 of 5 declared ones as
    expected (... s).
    "
  `);
  expect(stderr).toBe('');
  expect(code).toBe(0);
});

test('the cells of the declared machine and model are the verdicts of check', async () => {
  const { stdout } = await gracewalk(['check', 'targeted-ipi', '--json']);
  const { results } = JSON.parse(stdout) as {
    results: { variant: string; verdict: string; kinds: string[] }[];
  };
  const { cells: all } = await cells('targeted-ipi');
  const declared = all.filter((cell) => cell.declared);
  expect(declared.map(({ variant, verdict, kinds }) => ({ variant, verdict, kinds }))).toEqual(
    results.map(({ variant, verdict, kinds }) => ({ variant, verdict, kinds })),
  );
});

describe('on machines that nobody declared', () => {
  test('a flush by broadcast waits for no walker, so freeing without RCU is an error there', async () => {
    const { cells: all } = await cells(
      'pv-tlb-flush',
      '--machine',
      'arm64',
      '--machine',
      'x86_64',
      '--model',
      'sc',
    );
    const of = (machine: string): string[] =>
      all.filter((cell) => cell.machine === machine).map((cell) => cell.verdict ?? '-');
    expect(of('x86_64')).toEqual(['safe', 'safe', 'safe', 'fails']);
    // The paravirtual flush is x86's: what patches it means nothing elsewhere.
    expect(of('arm64')).toEqual(['fails', '-', '-', '-']);
    const reasons = all.flatMap(({ notApplicable }) => notApplicable ?? []);
    expect(new Set(reasons)).toEqual(
      new Set(['flush_tlb_multi(), which it patches, is never called']),
    );
  });

  test('a variant that names its machine is about no other', async () => {
    const args = ['gup-fast-vs-munmap', '--variant', 'arm64, rcu', '--model', 'sc'];
    const { cells: all } = await cells(...args);
    expect(all.map((cell) => cell.notApplicable)).toEqual(['it is about arm64', null]);
  });
});

test('what is declared and not so is marked, and is exit code 1', async () => {
  const { code, stdout } = await gracewalk(['matrix', fixture('wrong-claim'), '--model', 'sc']);
  expect(stdout).toMatch(/^ {2}two steps {2}PROPERTY \[1\]$/m);
  expect(stdout).toContain('0 of 1 declared ones as expected');
  expect(code).toBe(1);
});

test('a search that did not end is exit code 3, wherever it is', async () => {
  const args = ['pv-tlb-flush', '--machine', 'arm64', '--model', 'sc', '--limit', 'runs=3'];
  const { code, stdout } = await gracewalk(['matrix', ...args]);
  expect(stdout).toContain('inconclusive [1]');
  expect(stdout).toContain('stopped at runs=3');
  expect(code).toBe(3);
});

test('a machine that there is not gets a suggestion', async () => {
  expect(await complaint(['matrix', 'targeted-ipi', '--machine', 'arm46'], ROOT))
    .toMatchInlineSnapshot(`
    "error: no machine 'arm46'
    note: there are x86_64, x86_64_la57, x86_pae, arm64, arm64_16k, arm64_64k,
          powerpc_radix, powerpc_radix_64k, s390, riscv_sv39, riscv_sv48,
          riscv_sv57
    help: did you mean arm64?                                           [E802]
    exit 2"
  `);
});

test('a variant that there is not gets a suggestion', async () => {
  expect(await complaint(['matrix', 'targeted-ipi', '--variant', 'smp_mv'], ROOT))
    .toMatchInlineSnapshot(`
    "error: no variant 'smp_mv' in targeted-ipi
    note: there are 'smp_mb', 'smp_rmb', 'walker without smp_mb', 'smp_rmb,
          sc', 'walker without smp_mb, sc'
    help: did you mean 'smp_mb'?                                        [E106]
    exit 2"
  `);
});

test('columns that do not fit stand below each other', async () => {
  const { stdout } = await gracewalk(['matrix', 'targeted-ipi', '--width', '48']);
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(48);
  expect(stdout.match(/^ {2}smp_mb /gm)).toHaveLength(2);
});
