import { describe, expect, test } from 'vitest';
import emulation from '../../scenarios/mm/emulation-vs-pv-tlb-flush.ts';
import gup from '../../scenarios/mm/gup-fast-vs-munmap.ts';
import pv from '../../scenarios/mm/pv-tlb-flush.ts';
import slab from '../../scenarios/mm/slab-typesafe-by-rcu.ts';
import switching from '../../scenarios/mm/switch-mm-vs-flush.ts';
import targeted from '../../scenarios/mm/targeted-ipi.ts';
import type { Scenario } from '../../src/index.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import type { WhyResult } from '../../src/why/result.ts';
import { why, type WhyOptions } from '../../src/why/why.ts';

/** What the specification says of the protections of each form, and what the model says. */

function asked(scenario: Scenario, variant: string, options: Partial<WhyOptions> = {}): WhyResult {
  return why(scenario, variant, {
    limits: {},
    now: () => performance.now(),
    size: 2,
    kind: null,
    show: [],
    ...options,
  });
}

/** The sets that have an effect, each as text. */
function sets({ answers }: WhyResult, effect: string): string[] {
  return answers
    .filter((answer) => answer.effect === effect)
    .map(({ without }) => without.join(' + '));
}

const TABLE = 'use-after-free of a page table';
const IRQS_OFF = 'local_irq_save() in get_user_pages_fast()';
const GRACE_PERIOD = 'the grace period in tlb_remove_table_free()';
const FLUSH_IPI = 'the wait for IPIs in native_flush_tlb_multi()';
const SYNC_IPI = 'the wait for IPIs in tlb_remove_table_sync_one()';
const STALE = [
  'flush_tlb_func() in <IPI: flush_tlb_func>',
  'flush_tlb_func() in flush_tlb_mm_range()',
  FLUSH_IPI,
];

describe('GUP-fast against munmap()', () => {
  test('rcu: interrupts off; or both the wait for the flush and the grace period', () => {
    const result = asked(gup, 'rcu');
    expect(result).toMatchObject({ verdict: 'safe', undecided: [], untried: 0, limit: null });
    expect(sets(result, TABLE)).toEqual([IRQS_OFF, `${GRACE_PERIOD} + ${FLUSH_IPI}`]);
    expect(sets(result, 'stale-translation')).toEqual(STALE);
    expect(sets(result, 'wrong-page')).toEqual(['gup_entries_unchanged() in gup_fast_pte_range()']);
    expect(sets(result, 'use-after-free')).toEqual([]);
    // Nobody else takes them here: the page tables have one unmapper.
    const spare = result.items.filter(({ needed }) => !needed).map(({ name }) => name);
    expect(spare).toEqual(expect.arrayContaining(['the lock mmap_lock', 'the lock ptl']));
  });

  test('ipi: the wait for the flush is all that holds the table', () => {
    const result = asked(gup, 'ipi', { kind: 'use-after-free' });
    expect(sets(result, TABLE)).toEqual([IRQS_OFF, FLUSH_IPI]);
  });

  test('rcu, no memory: two interrupts are waited for, and each is enough', () => {
    const result = asked(gup, 'rcu, no memory', { kind: 'use-after-free' });
    expect(sets(result, TABLE)).toEqual([IRQS_OFF, `${FLUSH_IPI} + ${SYNC_IPI}`]);
  });

  test('arm64: a flush waits for no software, so the grace period is alone; so is add-unless-zero', () => {
    const result = asked(gup, 'arm64, rcu');
    expect(sets(result, TABLE)).toEqual([IRQS_OFF, GRACE_PERIOD]);
    expect(sets(result, 'double-free')).toEqual([
      'the condition of try_grab_folio_fast() in gup_fast_pte_range()',
    ]);
    expect(sets(result, 'stale-translation')).toEqual(['dsb_ish() in __flush_tlb_range()']);
  });

  test('a walker with rcu_read_lock() alone is held by nothing but grace periods', () => {
    const result = asked(gup, 'rcu-only walker, rcu', { kind: 'use-after-free' });
    expect(sets(result, TABLE)).toEqual(['rcu_read_lock() in walk_page_range_rcu()', GRACE_PERIOD]);
  });
});

// No pair has an effect that neither of the two has; trying them all takes a minute.
describe('the paravirtual flush', () => {
  test.each([
    ['native, no rcu', FLUSH_IPI],
    ['pv, rcu, no memory', SYNC_IPI],
  ])('%s: interrupts off, and one wait', (variant, wait) => {
    const result = asked(pv, variant, { size: 1, kind: 'use-after-free' });
    expect(sets(result, TABLE)).toEqual([IRQS_OFF, wait]);
  });

  test('pv, rcu: the flush holds no table; translations need all that makes the byte an arbiter', () => {
    const result = asked(pv, 'pv, rcu', { size: 1 });
    expect(sets(result, TABLE)).toEqual([IRQS_OFF, GRACE_PERIOD]);
    expect(sets(result, 'stale-translation')).toEqual([
      ...STALE.slice(0, 2),
      'kvm_vcpu_flush_tlb_guest() in record_steal_time()',
      'the atomicity of the exchange in record_steal_time()',
      'the atomicity of try_cmpxchg() in kvm_flush_tlb_multi()',
      FLUSH_IPI,
    ]);
  });

  test('an emulated store is held off by not saying that the vCPU is preempted', () => {
    const result = asked(emulation, 'pv', { size: 1, kind: 'use-after-free' });
    expect(sets(result, 'use-after-free')).toContain(
      'kvm_at_instruction_boundary() in kvm_arch_vcpu_put()',
    );
  });
});

test('targeted interrupts: interrupts off, the wait, and both barriers', () => {
  const result = asked(targeted, 'smp_mb');
  expect(sets(result, TABLE)).toEqual([
    'local_irq_save() in gup_fast()',
    'smp_mb() in gup_fast()',
    'smp_mb() in tlb_remove_table_sync_mm()',
    'the wait for IPIs in tlb_remove_table_sync_mm()',
  ]);
});

test('a CPU that switches: under TSO the two barriers are protections, under SC they are not', () => {
  const barriers = [
    'the atomicity of inc_mm_tlb_gen() in flush_tlb_mm_range()',
    'the barrier of cpumask_set_cpu() in switch_mm_irqs_off()',
  ];
  const stale = (variant: string): string[] =>
    sets(asked(switching, variant, { size: 1 }), 'stale-translation');
  expect(stale('v6.12, tso')).toEqual(expect.arrayContaining(barriers));
  for (const name of barriers) expect(stale('v6.12')).not.toContain(name);
});

test('a lookup in a type-stable cache needs each of its six rules, and only some for the memory', () => {
  const result = asked(slab, 'reference', { size: 1 });
  expect(result.items.filter(({ needed }) => !needed)).toEqual([]);
  expect(sets(result, 'use-after-free')).toEqual([
    'rcu_read_lock() in reader()',
    'the atomicity of fetch_add() in obj_put()',
    'the condition of atomic_add_unless() in lookup()',
    'the grace period in free_slab()',
  ]);
  expect(sets(result, 'property')).toEqual([
    'the atomicity of fetch_add() in obj_put()',
    'the condition of atomic_add_unless() in lookup()',
    'the order of obj_init() in updater()',
    'the re-check of the key in lookup()',
  ]);
});

describe('an answer', () => {
  test('is an ordinary variant, which check finds to fail in the same way', () => {
    for (const without of [[IRQS_OFF], [GRACE_PERIOD, FLUSH_IPI]]) {
      const { variants } = gup.definition;
      const broken = { ...variants.rcu, without } as (typeof variants)[string];
      const definition = { ...gup.definition, variants: { broken } };
      const options = { limits: {}, now: () => 0 };
      const result = checkVariant({ ...gup, definition }, 'broken', options);
      expect(result.neverCalled).toEqual([]);
      expect(result.kinds).toContain('use-after-free');
    }
  });

  test('has its shortest run if that is asked for, and the others have none', () => {
    const { answers } = asked(gup, 'ipi', { size: 1, show: [2], kind: 'use-after-free' });
    expect(answers.map(({ run }) => run?.violation?.kind ?? null)).toEqual([
      null,
      'use-after-free',
    ]);
    expect(answers[1]?.run?.minimal).toBe('global');
    expect(answers[1]?.message).toBe('CPU0 uses pteA[1] after CPU1 has freed pteA.');
  });
});

describe('of a failing variant', () => {
  test('each thing that makes it safe when it is taken back', () => {
    const result = asked(pv, 'pv, no rcu');
    expect(result.verdict).toBe('fails');
    expect(sets(result, 'safe')).toEqual([
      'MMU_GATHER_RCU_TABLE_FREE=n',
      'the patch of flush_tlb_multi()',
    ]);
    const { run, order } = result.failure as NonNullable<WhyResult['failure']>;
    expect(run.violation?.kind).toBe('use-after-free');
    const ops = order.map((pair) => pair.map((n) => run.steps[n - 1]?.leaf?.name));
    expect(ops[0]).toEqual(['pmdp_get_lockless', 'pmd_clear']);
  });

  test('what does not help alone does not count as help', () => {
    const result = asked(gup, 'arm64, foreign page is read');
    expect(result.items.map(({ name, needed }) => [name, needed])).toEqual([
      ['the patch of gup_entries_unchanged()', true],
      ['the machine arm64, 2 CPUs', false],
      ['its own actors', false],
    ]);
  });
});

describe('a limit', () => {
  test('on the whole says how many sets were not tried', () => {
    let time = 0;
    const result = asked(gup, 'rcu', { now: () => (time += 1), limits: { time: 60 } });
    expect(result.limit).toEqual({ name: 'time', value: 60 });
    expect(result.untried).toBeGreaterThan(100);
  });

  test('on each set leaves undecided what it ends, and claims no more than it knows', () => {
    const result = asked(gup, 'ipi', { size: 1, limits: { runs: 140 } });
    expect(result.undecided.length).toBeGreaterThan(0);
    for (const { reason } of result.undecided) expect(reason).toBe('stopped at the limit on runs');
    expect(sets(result, TABLE)).toContain(FLUSH_IPI);
  });
});
