import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT, fixture, gracewalk } from './gracewalk.ts';

interface Certified {
  readonly certificate: unknown;
}

/** A result without the one field that depends on the machine. */
function timeless(stdout: string): string {
  return stdout.replace(/"ms": ?\d+/g, '"ms":0').replace(/\([\d.,]+ m?s\)/g, '(... s)');
}

async function stdoutOf(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await gracewalk(['check', fixture('large'), ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return timeless(stdout);
}

describe('-j', () => {
  test('changes no byte of the result', async () => {
    const alone = await stdoutOf('--json');
    expect(JSON.parse(alone)).toMatchObject({
      results: [
        { variant: 'safe', verdict: 'safe', explored: { runs: 34_904 } },
        { variant: 'waits for ever', verdict: 'fails', kinds: ['deadlock'] },
      ],
    });
    expect(await stdoutOf('--json', '-j', '2')).toBe(alone);
    expect(await stdoutOf('--json', '--jobs', '3')).toBe(alone);
  });

  test('a thread that dies ends the search with a message and code 5', async () => {
    const args = ['check', fixture('long-dies'), '--variant', 'endless', '-j', '2'];
    const { code, stdout, stderr } = await gracewalk(args);
    expect(stderr).toMatch(/^error: a thread of the search ended without a word \(code 7\)\n/);
    expect(stderr.match(/error:/g)).toHaveLength(1);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(stdout).toContain('Not checked: 1 variant.');
    expect(code).toBe(5);
  });

  test('Ctrl-C is heard by all threads', async () => {
    let sent = false;
    const args = ['check', fixture('long'), '--variant', 'endless', '-j', '2', '--progress', '1'];
    const { code, stdout } = await gracewalk(args, {
      watch: (child, stderr) => {
        if (sent || !/endless +[\d,]{6,} runs/.test(stderr())) return;
        sent = true;
        child.kill('SIGINT');
      },
    });
    expect(stdout).toMatch(/endless +INCONCLUSIVE +[\d,]+ runs +interrupted/);
    expect(code).toBe(3);
  });

  test('a limit on runs is exact', async () => {
    const args = ['check', fixture('large'), '--variant', 'safe', '--limit', 'runs=20000'];
    const alone = await gracewalk(args);
    const shared = await gracewalk([...args, '-j', '2']);
    expect(alone.stdout).toMatch(/INCONCLUSIVE +20,000 runs/);
    expect(timeless(shared.stdout)).toBe(timeless(alone.stdout));
    expect([alone.code, shared.code]).toEqual([3, 3]);
  });
});

describe('--certify', () => {
  const pinned = JSON.parse(readFileSync(join(ROOT, 'scenarios/expected.json'), 'utf8')) as Record<
    string,
    { readonly runs: number }
  >;
  const runs = pinned['rcu-grace-period / busy, tree']?.runs ?? 0;

  test('prints the counts of both engines', async () => {
    const { code, stdout } = await gracewalk(['check', 'rcu-grace-period', '--certify']);
    expect(runs).toBeGreaterThan(100);
    expect(stdout).toMatch(new RegExp(`busy, tree +safe +${runs} runs = ${runs}\\s`));
    expect(stdout).toContain('Wakeup trees find the same classes of runs');
    expect(code).toBe(0);
  });

  test('is in the JSON form', async () => {
    const args = ['check', 'rcu-grace-period', '--variant', 'busy, tree', '--json'];
    const certificate = async (more: readonly string[]): Promise<unknown> => {
      const { stdout } = await gracewalk([...args, ...more]);
      const { results } = JSON.parse(stdout) as { results: { explored: Certified }[] };
      return results[0]?.explored.certificate;
    };
    expect(await certificate([])).toBe(null);
    expect(await certificate(['--certify'])).toMatchObject({ runs, classes: runs });
  });
});

describe('--random and --pct', () => {
  const broken = ['check', 'pv-steal-time', '--variant', 'host stores'];

  test('find a violation and draw the shortest run that shows it', async () => {
    const all = await gracewalk(broken);
    const { code, stdout } = await gracewalk([...broken, '--pct', '1000', '--seed', '3']);
    const diagram = (text: string): string =>
      text.slice(text.indexOf('vCPU0  '), text.indexOf('Replay'));
    expect(stdout).toMatch(/host stores +FAILS +\d+ runs? +stale-translation, as expected/);
    expect(diagram(all.stdout)).toContain('!!! stale-translation');
    expect(diagram(stdout)).toBe(diagram(all.stdout));
    expect(code).toBe(0);
  });

  test('prove nothing: without a violation the verdict is inconclusive, and the seed is told', async () => {
    const args = ['check', 'pv-steal-time', '--variant', 'atomic'];
    const { code, stdout } = await gracewalk([...args, '--random', '50', '--seed', '7']);
    expect(stdout).toMatch(/only 50 runs chosen at random, seed\s7, were tried/);
    expect(stdout).toContain('Chance proves nothing');
    expect(code).toBe(3);
  });

  test.each([
    [['--random', '0'], "bad --random '0'"],
    [['--pct', '5', '--seed', '-1'], "bad --seed '-1'"],
    [['-j', '0'], "bad --jobs '0'"],
    [['--random', '5', '--pct', '5'], '--random'],
    [['--random', '5', '--certify'], '--certify'],
    [['--seed', '5'], '--seed without chance'],
    [['--certify', '--limit', 'switches=2'], 'a search of its own'],
  ])('%j is refused', async (options, what) => {
    const { code, stderr } = await gracewalk(['check', 'pv-tlb-flush', ...options]);
    expect(stderr).toContain(what);
    expect(code).toBe(2);
  });
});
