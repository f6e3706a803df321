import type { RunReport, SourceLines, ViolationReport } from '../../src/scenario/result.ts';
import { event, frames, report, sourceOf, statement, step } from './make.ts';

/** The example of product.md, section 2: the PV TLB flush with RCU table freeing turned off. */
const sources: string[] = [];

export const USE_AFTER_FREE: ViolationReport = {
  kind: 'use-after-free',
  actor: 'vCPU0',
  object: 'pteA',
  message: 'vCPU0 reads page table pteA after vCPU1 has freed it.',
};

const walk = frames('gup_fast_pte_range#1');
const flush = frames('kvm_flush_tlb_multi#2');

export const SAMPLE: RunReport = report(
  ['vCPU0', 'vCPU1'],
  [
    statement(sources, 'vCPU0', '  yield* local_irq_save(flags);', { op: 'irq_save' }),
    statement(sources, 'vCPU0', '  const pmd = yield* pmdp_get_lockless(pmdp);', {
      frames: walk,
      comment: '-> pteA',
      objects: ['pteA'],
    }),
    event('vCPU0', 'schedules out; sets KVM_VCPU_PREEMPTED'),
    statement(sources, 'vCPU1', '  yield* pmd_clear(pmdp);', { comment: 'pteA unlinked' }),
    statement(sources, 'vCPU1', '    const state = yield* READ_ONCE(src.preempted);', {
      frames: flush,
      comment: 'KVM_VCPU_PREEMPTED',
    }),
    statement(
      sources,
      'vCPU1',
      '    if (yield* try_cmpxchg(src.preempted, state, state | KVM_VCPU_FLUSH_TLB))',
      {
        frames: flush,
        leaf: { name: 'try_cmpxchg', address: [0, 1] },
        comment: 'vCPU0 leaves flushmask: no IPI',
      },
    ),
    step({ column: 'vCPU1', op: 'translations_gone', ghost: true }),
    statement(sources, 'vCPU1', '  yield* __tlb_remove_table(pteA);', { comment: 'pteA freed' }),
    event('vCPU0', 'schedules back in', { op: 'vm_entry' }),
    statement(sources, 'vCPU0', '    const pte = yield* ptep_get_lockless(ptep);', {
      frames: walk,
      comment: 'none',
      violation: USE_AFTER_FREE,
    }),
  ],
);

export const SAMPLE_SOURCE: SourceLines = sourceOf(sources);

export const SAMPLE_COLUMNS = `
  vCPU0                     vCPU1
  -----                     -----
  local_irq_save(flags);
  gup_fast_pte_range()
    pmd = pmdp_get_lockless(pmdp);  // -> pteA
  <schedules out; sets KVM_VCPU_PREEMPTED>

                            pmd_clear(pmdp);  // pteA unlinked
                            kvm_flush_tlb_multi()
                              state = READ_ONCE(src->preempted);
                                // KVM_VCPU_PREEMPTED
                              try_cmpxchg(&src->preempted, &state, state |
                                  KVM_VCPU_FLUSH_TLB);
                                // vCPU0 leaves flushmask: no IPI
                            __tlb_remove_table(pteA);  // pteA freed

  <schedules back in>
    pte = ptep_get_lockless(ptep);  // !!! use-after-free
`;

export const SAMPLE_TAGGED = `
  1 [vCPU0] local_irq_save(flags);
  2 [vCPU0] gup_fast_pte_range()
  3 [vCPU0]   pmd = pmdp_get_lockless(pmdp);  // -> pteA
  4 [vCPU0] <schedules out; sets KVM_VCPU_PREEMPTED>
  5 [vCPU1] pmd_clear(pmdp);  // pteA unlinked
  6 [vCPU1] kvm_flush_tlb_multi()
  7 [vCPU1]   state = READ_ONCE(src->preempted);  // KVM_VCPU_PREEMPTED
  8 [vCPU1]   try_cmpxchg(&src->preempted, &state, state |
                  KVM_VCPU_FLUSH_TLB);  // vCPU0 leaves flushmask: no IPI
  9 [vCPU1] __tlb_remove_table(pteA);  // pteA freed
 10 [vCPU0] <schedules back in>
 11 [vCPU0]   pte = ptep_get_lockless(ptep);  // !!! use-after-free
`;
