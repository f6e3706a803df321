import { describe, expect, it } from 'vitest';
import { PLAIN, type TextOptions } from '../../src/report/text-options.ts';
import { renderCheck } from '../../src/report/text.ts';
import type { VariantResult } from '../../src/scenario/result.ts';
import { report, result, step } from './make.ts';
import { SAMPLE, SAMPLE_COLUMNS, SAMPLE_SOURCE, USE_AFTER_FREE } from './sample.ts';

const OPTIONS: TextOptions = {
  width: 75,
  layout: 'columns',
  detail: 'auto',
  source: SAMPLE_SOURCE,
  painter: PLAIN,
  showExpected: false,
  assumptions: false,
  shorten: (file) => file.replace('/src/', ''),
};

const EXPLORED = result().explored;

const FAILING: VariantResult = result({
  variant: 'pv, no rcu',
  expected: { verdict: 'fails', kinds: ['use-after-free'] },
  verdict: 'fails',
  kinds: ['use-after-free'],
  run: SAMPLE,
  token: 'pv-tlb-flush/pv,norcu@b3c9f1/1.a2-xy',
});

const UNEXPECTED: VariantResult = {
  ...FAILING,
  expected: { verdict: 'safe', kinds: [] },
  ok: false,
};

const check = (results: readonly VariantResult[], more: Partial<TextOptions> = {}): string =>
  renderCheck(results, { ...OPTIONS, ...more });

const explored = (more: Partial<VariantResult['explored']>): VariantResult['explored'] => ({
  ...EXPLORED,
  ...more,
});

describe('all as expected', () => {
  it('names the memory model, and those variants that have another one', () => {
    const tso = result({ variant: 'b', model: 'tso' });
    const text = check([result({ variant: 'a' }), tso]);
    expect(text).toMatch(/^pv-tlb-flush {4}x86-64 KVM guest, 2 vCPUs, SC$/m);
    expect(text).toMatch(/^ {2}b +safe .*\(TSO\)$/m);
    expect(check([tso])).toMatch(/^pv-tlb-flush {4}x86-64 KVM guest, 2 vCPUs, TSO$/m);
  });

  it('is one line per variant, the assumptions, and what was explored', () => {
    expect(check([result(), FAILING])).toBe(`pv-tlb-flush    x86-64 KVM guest, 2 vCPUs, SC

  pv, rcu      safe    1,341 runs
  pv, no rcu   FAILS   1,341 runs  use-after-free, as expected

Assumed: sequential consistency.

Every run was explored.  2 of 2 as expected (0.2 s).
`);
  });

  it('claims that every run was explored only if that is so', () => {
    const partly = { ...FAILING, explored: explored({ exhaustive: false }) };
    expect(check([result(), partly])).not.toContain('Every run');
    expect(check([result(), partly])).toContain('\n2 of 2 as expected (0.2 s).\n');
  });

  it('prints what all safe variants assume, and no empty assumption', () => {
    const other = result({ assumptions: ['sequential consistency', '2 CPUs'] });
    expect(check([result(), other])).toContain('\nAssumed: sequential consistency.\n');
    expect(check([result({ assumptions: [] }), other])).not.toContain('Assumed');
    expect(check([FAILING])).not.toContain('Assumed');
  });

  it('draws an expected failure for somebody who asks for it', () => {
    expect(check([FAILING])).not.toContain('!!!');
    expect(check([FAILING], { showExpected: true })).toContain(SAMPLE_COLUMNS);
  });

  it('keeps scenarios apart', () => {
    const text = check([result(), result({ scenario: 'other' })]);
    expect(text.match(/^\S+ {4}x86-64 KVM guest, 2 vCPUs, SC$/gm)).toHaveLength(2);
    expect(text.match(/as expected/g)).toHaveLength(1);
  });
});

describe('a failure that was not expected', () => {
  it('has a headline, a sentence, the diagram, its size, and how to see it again', () => {
    expect(check([UNEXPECTED])).toContain(`
pv-tlb-flush / pv, no rcu: use-after-free

vCPU0 reads page table pteA after vCPU1 has freed it.
${SAMPLE_COLUMNS}
Fewest context switches: 2, and with these fewest steps: 10.

Replay: gracewalk replay 'pv-tlb-flush/pv,norcu@b3c9f1/1.a2-xy'

`);
    expect(check([UNEXPECTED])).toContain('0 of 1 as expected');
  });

  it('says so if no search has shown that the run is minimal', () => {
    const within = { ...UNEXPECTED, run: { ...SAMPLE, minimal: 'within-run' as const } };
    expect(check([within])).toContain(
      '\nMinimal within this run only: 2 context switches, 10 steps.\n',
    );
    expect(check([within])).not.toContain('Fewest');
  });

  it('quotes a token so that a shell takes it as it is', () => {
    expect(check([{ ...UNEXPECTED, token: "s/don't@b3c9f1/1.a1" }])).toContain(
      "Replay: gracewalk replay 's/don'\\''t@b3c9f1/1.a1'\n",
    );
  });

  it('lists who waits for what in a deadlock', () => {
    const violation = {
      ...USE_AFTER_FREE,
      kind: 'deadlock' as const,
      message: 'Nobody can go on.',
    };
    const waiting = ['CPU0 waits for mmap_lock, held by CPU1', 'CPU1 waits for ptl, held by CPU0'];
    const run = report(['CPU0'], [step({ column: 'CPU0' })], { violation, waiting });
    expect(check([{ ...UNEXPECTED, kinds: ['deadlock'], run }])).toContain(
      '\n  read();\n\nCPU0 waits for mmap_lock, held by CPU1.\nCPU1 waits for ptl, held by CPU0.\n\nFewest',
    );
  });

  it('does not say below the diagram what the sentence above it has said', () => {
    const waiting = ['CPU0 waits for ptl, held by CPU1', 'CPU1 waits for a change of x'];
    const message =
      'CPU1 tries again and again, without a change of x; CPU0 waits for ptl, held by CPU1.';
    const violation = { ...USE_AFTER_FREE, kind: 'livelock' as const, message };
    const run = report(['CPU0'], [step({ column: 'CPU0' })], { violation, waiting });
    const text = check([{ ...UNEXPECTED, kinds: ['livelock'], run }]);
    expect(text).toContain('\n  read();\n\nFewest');
  });

  it('names the kinds that were declared and never happened', () => {
    const declared = { verdict: 'fails' as const, kinds: ['use-after-free', 'leak'] as const };
    expect(check([{ ...UNEXPECTED, expected: declared }])).toContain(
      '\npv-tlb-flush / pv, no rcu: expected leak as well, which never happened\n',
    );
  });

  it('says nothing of the other kinds if a limit has ended the search', () => {
    const expected = { verdict: 'fails' as const, kinds: ['use-after-free', 'leak'] as const };
    const limit = { name: 'switches', value: 3 };
    expect(check([{ ...UNEXPECTED, expected, limit }])).not.toContain('never happened');
  });

  it('that is safe instead says what it should have been', () => {
    const safe = { ...FAILING, verdict: 'safe' as const, kinds: [], ok: false, run: null };
    expect(check([safe], { width: 100 })).toMatch(
      /^ {2}pv, no rcu {3}safe .* expected to fail with use-after-free$/m,
    );
  });
});

describe('what is not a pass', () => {
  const stopped = (limit: VariantResult['limit']): string =>
    check([
      result({
        verdict: 'inconclusive',
        ok: false,
        limit,
        explored: explored({ exhaustive: false }),
      }),
    ]);

  it('inconclusive: names the limit and what to do', () => {
    expect(stopped({ name: 'runs', value: 2000 }))
      .toBe(`pv-tlb-flush    x86-64 KVM guest, 2 vCPUs, SC

  pv, rcu   INCONCLUSIVE   1,341 runs  stopped at runs=2,000

pv-tlb-flush / pv, rcu: inconclusive, stopped at runs=2,000
No violation in 1,341 runs, 20,000 steps; other runs were not tried.
This is not a pass.  Raise --limit runs= or drop the limit.

0 of 1 as expected (0.1 s).
`);
  });

  it.each([
    ['time', 60_000, 'time=60s', 'Raise --limit time='],
    ['memory', 2 ** 31, 'memory=2048M', 'Raise --limit memory='],
    ['steps', 1000, 'steps=1,000', 'Raise --limit steps='],
    ['interrupt', 0, 'interrupted', 'run it again to the end'],
    ['switches', 3, 'up to 3 context switches', 'drop the limit'],
    ['switches', 1, 'up to 1 context switch were', 'drop the limit'],
  ])('inconclusive by %s', (name, value, what, advice) => {
    const text = stopped({ name, value }).replace(/\s+/g, ' ');
    expect(text).toContain(what);
    expect(text).toContain('This is not a pass.');
    expect(text).toContain(advice);
  });

  it('inconclusive by the bound of a loop is E302, at its place', () => {
    const text = stopped({
      name: 'bounded',
      value: 3,
      runs: 1204,
      site: { file: '/src/gup.ts', line: 40, column: 21 },
    });
    expect(text).toContain('error: the bound of 3 rounds was reached\n  --> gup.ts:40:21, variant');
    expect(text).toContain(
      'note: 1,204 runs stopped here; nothing is known about a further round\n',
    );
    expect(text).toMatch(/^verdict: inconclusive \(exit 3\) +\[E302\]$/m);
  });

  it('vacuous: lists what was never seen, and only that', () => {
    const sometimes = { 'the fault retries': 'never', 'the fault installs': 'seen' } as const;
    const text = check([result({ verdict: 'vacuous', ok: false, sometimes })]);
    expect(text).toContain(
      "\nNo violation in 1,341 runs, but never seen:\n  'the fault retries'\n",
    );
    expect(text).not.toContain('the fault installs');
    expect(text).toMatch(/^ {2}pv, rcu {3}VACUOUS /m);
  });

  it('vacuous by a patch that nothing calls is E201, at its place', () => {
    const site = { file: '/src/kvm.ts', line: 71, column: 19 };
    const neverCalled = [{ name: 'mmu_invalidate_retry_gfn', site }];
    const text = check([result({ verdict: 'vacuous', ok: false, neverCalled })]);
    expect(text).toContain(
      "error: patched function mmu_invalidate_retry_gfn() is never called\n  --> kvm.ts:71:19, variant 'pv, rcu'\n",
    );
    expect(text).toMatch(/^verdict: vacuous \(exit 4\), not safe +\[E201\]$/m);
    expect(text).not.toContain('never seen');
  });
});

describe('what is too long for the width', () => {
  const long = result({
    variant: 'a variant with quite a long name',
    verdict: 'fails',
    kinds: ['use-after-free', 'stale-translation'],
    expected: { verdict: 'fails', kinds: ['use-after-free', 'stale-translation'] },
    machineTitle: 'arm64, 2 CPUs',
  });

  it('goes on below the remark, kinds in one piece', () => {
    expect(check([result(), { ...long, variant: 'three words long' }])).toContain(`
  pv, rcu            safe    1,341 runs
  three words long   FAILS   1,341 runs  use-after-free, stale-translation,
                                         as expected   (arm64, 2 CPUs)
`);
  });

  it('stands below the row if there is no room beside it', () => {
    expect(check([result(), long], { width: 64 })).toContain(`
  pv, rcu                            safe    1,341 runs
  a variant with quite a long name   FAILS   1,341 runs
      use-after-free, stale-translation, as expected
      (arm64, 2 CPUs)
`);
  });

  it('is folded, and no line ends in a space', () => {
    const stopped = { verdict: 'inconclusive' as const, ok: false, variant: 'two words' };
    const lines = check(
      [
        result({ ...stopped, limit: { name: 'switches', value: 3 } }),
        result({ ...stopped, verdict: 'vacuous', sometimes: { 'is seen': 'never' } }),
        { ...long, variant: 'three words long' },
        UNEXPECTED,
      ],
      { width: 48, layout: 'tagged' },
    ).split('\n');
    const prose = lines.filter((line) => !/^Replay|^ {2}\S.* runs?$/.test(line));
    expect(prose.filter((line) => line.length > 48)).toEqual([]);
    expect(lines.filter((line) => line.endsWith(' '))).toEqual([]);
  });
});

describe('colour', () => {
  const results = [result(), FAILING, UNEXPECTED, result({ verdict: 'vacuous', ok: false })];
  const painter = {
    good: (text: string) => `<g>${text}</>`,
    bad: (text: string) => `<b>${text}</>`,
    warn: (text: string) => `<w>${text}</>`,
  };

  it('changes nothing but colour', () => {
    const painted = check(results, { painter });
    expect(painted.replace(/<[gbw]>|<\/>/g, '')).toBe(check(results));
  });

  it('marks verdict words and the failing row', () => {
    const painted = check(results, { painter });
    expect(painted.match(/<[gbw]>.*?<\/>/g)).toEqual([
      '<g>safe   </>',
      '<g>FAILS  </>',
      '<b>FAILS  </>',
      '<w>VACUOUS</>',
      '<b>use-after-free</>',
      '<b>pte = ptep_get_lockless(ptep);  // !!! use-after-free</>',
    ]);
  });
});

describe('a second opinion', () => {
  const certified = (runs: number): VariantResult => {
    const certificate = { runs, classes: 10, steps: 100, sleepBlocked: 0 } as never;
    return result({ explored: explored({ runs: 2870, certificate }) });
  };

  it('is equal to the first where it is', () => {
    expect(check([certified(2870)])).toContain('2,870 runs = 2,870');
  });

  it('is not called equal where violations cut runs short', () => {
    expect(check([certified(2856)])).toContain('2,870 runs / 2,856');
  });
});
