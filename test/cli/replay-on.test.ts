import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { fixture, gracewalk } from './in-process.ts';

/** A failing schedule followed in another variant, and runs that are shortened. */

interface Stop {
  readonly kind: string;
  readonly step: { readonly n: number; readonly actor: string; readonly text: string };
  readonly reason: string;
}

interface Run {
  readonly token: string;
  readonly switches: number;
  readonly violation: { readonly kind: string } | null;
  readonly steps: readonly { readonly n: number }[];
  readonly followed?: { readonly possible: boolean; readonly stop: Stop | null };
}

const folder = mkdtempSync(join(tmpdir(), 'gracewalk-replay-'));

async function tokenOf(scenario: string, variant: string): Promise<string> {
  const { stdout } = await gracewalk(['check', scenario, '--variant', variant, '--json']);
  return (JSON.parse(stdout) as { results: { token: string }[] }).results[0]?.token ?? '';
}

async function followed(token: string, on: string): Promise<Run> {
  const { code, stdout, stderr } = await gracewalk(['replay', token, '--on', on, '--json']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout) as Run;
}

describe('--on', () => {
  let token: string;
  beforeAll(async () => {
    token = await tokenOf('pv-tlb-flush', 'pv, no rcu');
  });

  test('RCU: the table is handed to a callback, which waits for the walker', async () => {
    const { followed: result, violation } = await followed(token, 'pv, rcu');
    expect(violation).toBeNull();
    expect(result?.stop?.kind).toBe('instead');
    expect(result?.stop?.reason).toMatch(
      /^vCPU1 does call_rcu\(.*\) instead of .+ waits for a grace period, held up by vCPU0\.$/,
    );
  });

  test('a native flush: the interrupt waits for the vCPU', async () => {
    const { followed: result } = await followed(token, 'native, no rcu');
    expect(result?.stop?.reason).toBe(
      'vCPU1 does native_flush_tlb_multi() instead of kvm_flush_tlb_multi().  When it goes on, vCPU1 waits ' +
        'for vCPU0 to handle <IPI: flush_tlb_func>.',
    );
  });

  test('its own variant: the schedule is possible to its last step, and violates', async () => {
    const { followed: result, violation } = await followed(token, 'pv,norcu');
    expect(result).toEqual({ on: 'pv, no rcu', possible: true, stop: null });
    expect(violation?.kind).toBe('use-after-free');
  });

  test('the diagram ends where the schedule does, with the reason below', async () => {
    const { stdout } = await gracewalk(['replay', token, '--on', 'pv, rcu']);
    expect(stdout).toMatch(
      /^The schedule of 'pv, no rcu' stops in 'pv, rcu' at its step \d+\.\n\n/,
    );
    expect(stdout).toContain('call_rcu(');
    expect(stdout).not.toContain('!!!');
    expect(stdout).toMatch(/held up by vCPU0\.\n\n$/);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(75);
  });

  test('a handler that cannot begin is named with what it waits for', async () => {
    const masked = await tokenOf('gup-fast-vs-munmap', 'gup with irqs on');
    const { followed: result } = await followed(masked, 'rcu');
    expect(result?.stop?.kind).toBe('waits');
    expect(result?.stop?.reason).toBe(
      '<IPI: flush_tlb_func> cannot come next: IPI: flush_tlb_func waits for CPU0 to take interrupts.',
    );
  });

  test('a barrier that waits is named', async () => {
    const unordered = await tokenOf('targeted-ipi', 'smp_rmb');
    const { followed: result } = await followed(unordered, 'smp_mb');
    expect(result?.stop?.reason).toBe(
      'READ_ONCE(active) cannot come next: CPU1 is at smp_mb() and waits for its stores to reach memory.',
    );
  });

  test('a variant that there is not gets a suggestion', async () => {
    const { code, stderr } = await gracewalk(['replay', token, '--on', 'pv, rcv']);
    expect(stderr).toContain("did you mean 'pv, rcu'?");
    expect(code).toBe(2);
  });
});

/** The run of counter.ts in which both load before either stores, with more switches than it needs. */
function longRun(change: Record<string, unknown> = {}): string {
  const step = (actor: string, op: string): object => ({ actor, op, text: op, comment: null });
  const document = {
    schema: 'gracewalk.run/1',
    scenario: 'counter',
    variant: 'two steps',
    token: null,
    violation: { kind: 'property', object: 'nothing is lost' },
    steps: [
      step('CPU0', 'read'),
      step('CPU1', 'read'),
      step('CPU0', 'write'),
      step('CPU1', 'write'),
      step('CPU0', 'write'),
      step('CPU1', 'write'),
      step('nothing is lost', 'observe'),
    ],
    ...change,
  };
  const file = join(folder, `run-${Object.keys(change).join('-')}.json`);
  writeFileSync(file, JSON.stringify(document));
  return file;
}

describe('a run from a file', () => {
  test('is followed by the names of its steps if it has no token', async () => {
    const { code, stdout, stderr } = await gracewalk([
      'replay',
      longRun(),
      fixture('counter'),
      '--json',
    ]);
    expect(stderr).toBe('');
    const run = JSON.parse(stdout) as Run;
    expect(run.switches).toBe(5);
    expect(run.violation?.kind).toBe('property');
    expect(code).toBe(0);
    const again = await gracewalk(['replay', run.token, fixture('counter'), '--json']);
    expect((JSON.parse(again.stdout) as Run).steps).toEqual(run.steps);
  });

  test('is shortened by --minimize to what check finds', async () => {
    const args = ['replay', longRun(), fixture('counter'), '--minimize', '--json'];
    const run = JSON.parse((await gracewalk(args)).stdout) as Run & { before: object };
    expect(run.before).toEqual({ switches: 5, steps: 7 });
    expect(run.switches).toBeLessThan(5);
    expect(run.token).toBe(await tokenOf(fixture('counter'), 'two steps'));
  });

  test('that diverges says at which step, and what is there instead', async () => {
    const steps = [{ actor: 'CPU0', op: 'call_rcu', text: 'call_rcu(&p->rcu);', comment: null }];
    const file = longRun({ steps });
    const { code, stderr } = await gracewalk(['replay', file, fixture('counter')]);
    expect(stderr.replace(/\s+/g, ' ')).toContain(
      'step 1: CPU0 is now at read, the run expected call_rcu: call_rcu(&p->rcu);',
    );
    expect(code).toBe(2);
    // The violation can be found again although the run is gone.
    const again = await gracewalk(['replay', file, fixture('counter'), '--minimize', '--json']);
    expect((JSON.parse(again.stdout) as Run).violation?.kind).toBe('property');
    expect(again.code).toBe(0);
  });

  test('whose violation is gone is an error under --minimize', async () => {
    const file = longRun({ variant: 'atomic' });
    const { code, stderr } = await gracewalk(['replay', file, fixture('counter'), '--minimize']);
    expect(stderr).toContain("no run of 'atomic' violates property");
    expect(code).toBe(2);
  });

  test.each([
    ['{', 'is no run'],
    ['[]', 'is no run'],
    ['{"steps": [{}]}', 'does not say which scenario'],
    ['{"scenario": "counter", "variant": "atomic", "steps": [{}]}', 'step 1 has no `actor`'],
  ])('%s is refused', async (text, why) => {
    const file = join(folder, 'bad.json');
    writeFileSync(file, text);
    const { code, stderr } = await gracewalk(['replay', file, fixture('counter')]);
    expect(stderr).toContain('[E602]');
    expect(stderr.replace(/\s+/g, ' ')).toContain(why);
    expect(code).toBe(2);
  });
});
