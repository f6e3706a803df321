import type {
  RunReport,
  SourceLines,
  Step,
  StepFrame,
  VariantResult,
} from '../../src/scenario/result.ts';

/** A source of which line n is the n-th text. */
export function sourceOf(lines: readonly string[]): SourceLines {
  return (_file, line) => lines[line - 1] ?? null;
}

export type StepDraft = Partial<Step> & { readonly column: string };

/** A step without anything special; `column` is its actor too unless that is given. */
export function step(draft: StepDraft): Step {
  return {
    n: 1,
    actor: draft.column,
    op: 'read',
    frames: [],
    leaf: null,
    event: null,
    comment: null,
    objects: [],
    meets: false,
    site: null,
    ghost: false,
    violation: null,
    ...draft,
  };
}

/** A statement whose source is the given line; `sources` collects it. */
export function statement(
  sources: string[],
  column: string,
  source: string,
  more: Partial<Step> = {},
): Step {
  const line = sources.push(source);
  const name = /yield\* (\w+)/.exec(source)?.[1] ?? 'op';
  return step({
    column,
    leaf: { name, address: [] },
    site: { file: '/src/a.ts', line, column: source.indexOf('yield*') + 1 },
    ...more,
  });
}

export function event(column: string, text: string, more: Partial<Step> = {}): Step {
  return step({ column, actor: `host of ${column}`, op: 'sched_out', event: text, ...more });
}

/** Frames from names; calls are numbered by depth unless a name says otherwise (`foo#7`). */
export function frames(...names: readonly string[]): StepFrame[] {
  return names.map((text, depth) => {
    const [name = '', call] = text.split('#');
    return { name, call: call === undefined ? depth : Number(call) };
  });
}

export function report(
  columns: readonly string[],
  steps: readonly Step[],
  more: Partial<RunReport> = {},
): RunReport {
  return {
    columns,
    steps: steps.map((each, at) => ({ ...each, n: at + 1 })),
    waiting: [],
    violation: steps.find(({ violation }) => violation)?.violation ?? null,
    switches: 2,
    minimal: 'global',
    schedule: 'a1',
    ...more,
  };
}

const CONFIG: VariantResult['config'] = {
  MMU_GATHER_TABLE_FREE: true,
  MMU_GATHER_RCU_TABLE_FREE: false,
  PT_RECLAIM: false,
  MAX_TABLE_BATCH: 4,
  MAX_GATHER_BATCH: 8,
};

export function result(more: Partial<VariantResult> = {}): VariantResult {
  return {
    scenario: 'pv-tlb-flush',
    fingerprint: 'b3c9f1',
    variant: 'pv, rcu',
    machine: 'x86_64.kvm_guest',
    machineTitle: 'x86-64 KVM guest, 2 vCPUs',
    model: 'sc',
    config: CONFIG,
    expected: { verdict: 'safe', kinds: [] },
    shows: [],
    verdict: 'safe',
    ok: true,
    kinds: [],
    explored: {
      runs: 1341,
      steps: 20_000,
      deadlocks: 0,
      blocked: 0,
      sleepBlocked: 0,
      exhaustive: true,
      certificate: null,
      ms: 100,
    },
    sometimes: {},
    limit: null,
    neverCalled: [],
    run: null,
    token: null,
    assumptions: ['sequential consistency'],
    ...more,
  };
}
