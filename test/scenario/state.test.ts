import { beforeAll, expect, test } from 'vitest';
import { gracewalk } from '../cli/gracewalk.ts';

/** What a recorded run says about each step beside its text: how the state changed, and where it comes from. */

interface Step {
  readonly n: number;
  readonly actor: string;
  readonly text: string;
  readonly diff?: Readonly<Record<string, readonly [string, string]>>;
  readonly arrows?: readonly { readonly from: number; readonly kind: string }[];
}

let steps: readonly Step[];

beforeAll(async () => {
  const args = ['check', 'gup-fast-vs-munmap', '--variant', 'gup with irqs on', '--json'];
  const { stdout } = await gracewalk(args);
  steps = (JSON.parse(stdout) as { results: { steps: Step[] }[] }).results[0]?.steps ?? [];
});

function diffOf(text: string): Step['diff'] {
  return steps.find((step) => step.text.startsWith(text))?.diff;
}

test('a lock changes hands by name', () => {
  expect(diffOf('spin_lock(ptl)')).toEqual({ 'ptl(pteA)': ['0', 'held by CPU1'] });
  expect(diffOf('spin_unlock(ptl)')).toEqual({ 'ptl(pteA)': ['held by CPU1', '0'] });
});

test('an entry, a table and what may be cached are facts', () => {
  expect(diffOf('pmd_clear(')).toEqual({ 'pmd[0]': ['-> pteA', 'none'] });
  expect(diffOf('call_rcu(')).toEqual({ pteA: ['in use', 'waits for RCU'] });
  expect(diffOf('__tlb_remove_table(')).toMatchObject({ pteA: ['waits for RCU', 'free'] });
  expect(diffOf('invlpg_range(')?.['CPU0 may have cached']?.[1]).not.toContain('pteA');
});

test('a step that only reads changes nothing', () => {
  const pmd = steps.find(({ text }) => text.startsWith('pmd = pmdp_get_lockless('));
  expect(pmd).toBeDefined();
  expect(pmd?.diff).toBeUndefined();
});

test('interrupts, acknowledgements and callbacks come from earlier rows', () => {
  const arrows = steps.flatMap(({ n, arrows: all = [] }) => all.map((arrow) => ({ n, ...arrow })));
  expect(arrows.map(({ kind }) => kind)).toEqual(['interrupt', 'acknowledgement', 'callback']);
  for (const { n, from } of arrows) expect(from).toBeLessThan(n);
  const at = (n: number): string => steps[n - 1]?.text ?? '';
  const [interrupt, acknowledgement, callback] = arrows;
  expect(at(interrupt?.from ?? 0)).toContain('send_ipi');
  expect(at(interrupt?.n ?? 0)).toBe('<IPI: flush_tlb_func>');
  expect(at(acknowledgement?.from ?? 0)).toBe('<returns from interrupt>');
  expect(at(acknowledgement?.n ?? 0)).toContain('csd_lock_wait');
  expect(at(callback?.from ?? 0)).toContain('call_rcu');
});
