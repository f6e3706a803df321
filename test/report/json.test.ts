import { describe, expect, it } from 'vitest';
import { toJson } from '../../src/report/json.ts';
import { result } from './make.ts';
import { SAMPLE, SAMPLE_SOURCE, USE_AFTER_FREE } from './sample.ts';

const failing = result({
  variant: 'pv, no rcu',
  expected: { verdict: 'safe', kinds: [] },
  verdict: 'fails',
  ok: false,
  kinds: ['use-after-free'],
  sometimes: { 'walker reads an unlinked table': 'seen' },
  run: SAMPLE,
  token: 'pv-tlb-flush/pv,norcu@b3c9f1/1.a2-xy',
});

const [json] = toJson([failing], '0.1.0', SAMPLE_SOURCE).results as [Record<string, unknown>];

describe('toJson', () => {
  it('is one document that says whether all is as expected', () => {
    const { results: _results, ...head } = toJson([failing, result()], '0.1.0', SAMPLE_SOURCE);
    expect(head).toEqual({ schema: 'gracewalk.result/1', engine: '0.1.0', ok: false });
    expect(toJson([result()], '0.1.0', SAMPLE_SOURCE).ok).toBe(true);
  });

  it('has the verdict, what was declared, and what was explored', () => {
    expect(json).toMatchObject({
      scenario: 'pv-tlb-flush',
      fingerprint: 'b3c9f1',
      variant: 'pv, no rcu',
      machine: 'x86_64.kvm_guest',
      model: 'sc',
      expected: 'safe',
      verdict: 'fails',
      ok: false,
      kinds: ['use-after-free'],
      violation: USE_AFTER_FREE,
      explored: { runs: 1341, steps: 20_000, exhaustive: true },
      sometimes: { 'walker reads an unlinked table': 'seen' },
      token: 'pv-tlb-flush/pv,norcu@b3c9f1/1.a2-xy',
    });
  });

  it('has the text, the place and the depth of every step', () => {
    const steps = json.steps as readonly Record<string, unknown>[];
    expect(steps.map(({ n }) => n)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(steps[1]).toMatchObject({
      actor: 'vCPU0',
      column: 'vCPU0',
      depth: 1,
      frames: ['gup_fast_pte_range'],
      op: 'read',
      text: 'pmd = pmdp_get_lockless(pmdp);',
      comment: '-> pteA',
      at: 'a.ts:2',
    });
    expect(steps[2]).toMatchObject({ text: '<schedules out; sets KVM_VCPU_PREEMPTED>', at: null });
    expect(steps[9]).toMatchObject({ violation: 'use-after-free' });
    expect(steps.filter((step) => 'violation' in step)).toHaveLength(1);
  });

  it('survives being written and read', () => {
    const document = toJson([failing, result()], '0.1.0', SAMPLE_SOURCE);
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
  });
});
