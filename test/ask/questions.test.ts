import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { replayToken } from '../../src/scenario/replay.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';
import { parseToken } from '../../src/scenario/token.ts';
import gup from '../../scenarios/mm/gup-fast-vs-munmap.ts';
import steal from '../../scenarios/mm/pv-steal-time.ts';
import pv from '../../scenarios/mm/pv-tlb-flush.ts';
import rcu from '../../scenarios/mm/rcu-grace-period.ts';
import slab from '../../scenarios/mm/slab-typesafe-by-rcu.ts';
import targeted from '../../scenarios/mm/targeted-ipi.ts';
import { ROOT } from '../cli/gracewalk.ts';
import { ask } from './asked.ts';

/** Questions with known answers, and the reasons that must be given. */

interface Reachable {
  /** What can follow; nothing: it is harmless. */
  readonly after?: readonly string[];
  /** Who waits meanwhile. */
  readonly waits?: RegExp;
}

interface Unreachable {
  /** What cannot come next, and why. */
  readonly next: string;
  readonly because: readonly RegExp[];
}

type Answer = Reachable | Unreachable;

interface Asked {
  readonly scenario: Scenario;
  readonly variant: string;
  readonly text: string;
  readonly answer: Answer;
}

const mail = readFileSync(join(ROOT, 'docs/asking/mail.txt'), 'utf8');
const freed = readFileSync(join(ROOT, 'docs/asking/mail-freed.txt'), 'utf8');
const thread = Object.values(pv.definition.ask ?? {})[0] ?? '';

const IRQS_OFF = /vCPU0 has had IRQs off since local_irq_save\(\)\./;
const RESTORE_LATER = /It takes local_irq_restore\(\), and that comes after <schedules/;

const readerFirst = `
  CPU0                CPU1
  ----                ----
  p = rcu_dereference(gbl_foo);  // -> foo

                      call_rcu(...);
                      <foo freed>

  READ_ONCE(p->a);
`;

const walkerFirst = `
  CPU0                        CPU1
  ----                        ----
  pmd = pmdp_get_lockless(pmdp);  // -> pteA

                              <pteA freed>

  pte = ptep_get_lockless(ptep);
`;

const questions: Record<string, Asked> = {
  'the mail of 2022, with RCU': {
    scenario: pv,
    variant: 'pv, rcu',
    text: mail,
    answer: { waits: /callback .* waits for a grace period, which vCPU0 holds up.*IRQs off/ },
  },
  'the mail, freed too early, with RCU': {
    scenario: pv,
    variant: 'pv, rcu',
    text: freed,
    answer: { next: '<pteA freed>', because: [/grace period/, IRQS_OFF, RESTORE_LATER] },
  },
  'the mail, freed too early, with RCU and no memory, quoted in a reply': {
    scenario: pv,
    variant: 'pv, rcu, no memory',
    text: freed.replace(/^/gm, '> '),
    answer: {
      next: 'tlb_finish_mmu()',
      because: [/<IPI: tlb_remove_table_smp_sync> is pending/, IRQS_OFF, RESTORE_LATER],
    },
  },
  'the mail, freed too early, without RCU, quoted twice': {
    scenario: pv,
    variant: 'pv, no rcu',
    text: freed.replace(/^/gm, '> > '),
    answer: { after: ['use-after-free'] },
  },
  'the question of the thread, as the scenario has it, with RCU': {
    scenario: pv,
    variant: 'pv, rcu',
    text: thread,
    answer: {
      next: '<pteA freed>',
      because: [/grace period, which vCPU0 holds up/, IRQS_OFF, RESTORE_LATER],
    },
  },
  'the same with no memory for a batch': {
    scenario: pv,
    variant: 'pv, rcu, no memory',
    text: thread,
    answer: {
      next: '<pteA freed>',
      because: [/vCPU1 waits for vCPU0 to handle <IPI: tlb_remove_table_smp_sync>/, IRQS_OFF],
    },
  },
  'the same without RCU': {
    scenario: pv,
    variant: 'pv, no rcu',
    text: thread,
    answer: { after: ['use-after-free'] },
  },
  'the same without the paravirtual flush': {
    scenario: pv,
    variant: 'native, no rcu',
    text: thread,
    answer: { next: '<pteA freed>', because: [/handle <IPI: flush_tlb_func>/, IRQS_OFF] },
  },
  'a flush that finds the vCPU running sends an interrupt': {
    scenario: pv,
    variant: 'pv, no rcu',
    text: `
      [vCPU1] kvm_flush_tlb_multi()
      [vCPU1]   state = READ_ONCE(src->preempted);  // 0
      [vCPU1]   send_ipi();
      [vCPU0] <IPI: flush_tlb_func>`,
    answer: {},
  },
  'the interrupt is not handled while the walker has them off': {
    scenario: gup,
    variant: 'ipi',
    text: `
      CPU0                     CPU1
      local_irq_disable();
                               flush_tlb_mm_range()
                               send_ipi();
                               csd_lock_wait();
      local_irq_enable();`,
    answer: {
      next: 'csd_lock_wait()',
      because: [
        /CPU1 waits for CPU0 to handle/,
        /IRQs off since local_irq_save/,
        /takes local_irq_restore/,
      ],
    },
  },
  'a table is freed under the walker, with RCU': {
    scenario: gup,
    variant: 'rcu',
    text: walkerFirst,
    answer: { next: '<pteA freed>', because: [/CPU0 has had IRQs off since local_irq_save/] },
  },
  'a table is freed under the walker, tagged, with interrupts on': {
    scenario: gup,
    variant: 'gup with irqs on',
    text: `
        1 [CPU0] pmd = pmdp_get_lockless(pmdp);  // -> pteA
        2 [CPU1] __tlb_remove_table(table);  // pteA freed
        3 [CPU0] pte = ptep_get_lockless(ptep);`,
    answer: { after: ['use-after-free'] },
  },
  'the walker finds the entry gone': {
    scenario: gup,
    variant: 'rcu',
    text: `
      CPU0                     CPU1
                               pmd_clear(pmdp);  // pteA unlinked

      pmd = pmdp_get_lockless(pmdp);  // none`,
    answer: {},
  },
  'the walker does not find what was unlinked before': {
    scenario: gup,
    variant: 'rcu',
    text: `
      CPU0                     CPU1
                               pmd_clear(pmdp);  // pteA unlinked

      pmd = pmdp_get_lockless(pmdp);  // -> pteA`,
    answer: { next: 'pmdp_get_lockless()', because: [/shows 'none'/] },
  },
  'an object is freed under its reader, with call_rcu()': {
    scenario: rcu,
    variant: 'call_rcu',
    text: readerFirst,
    answer: {
      next: '<foo freed>',
      because: [/CPU0 is in an RCU read-side section since rcu_read_lock\(\)/],
    },
  },
  'the same where the section ends too early': {
    scenario: rcu,
    variant: 'early unlock',
    text: readerFirst,
    answer: { after: ['use-after-free'] },
  },
  'synchronize_rcu() does not return while the object is read': {
    scenario: rcu,
    variant: 'synchronize_rcu',
    text: `
\tCPU0\t\t\tCPU1

\trcu_read_lock();
\tp = rcu_dereference();  // -> foo

\t\t\t\tsynchronize_rcu();

\trcu_read_unlock();`,
    answer: {
      next: 'synchronize_rcu()',
      because: [/CPU1 waits for a grace period, which CPU0 holds up/, /takes rcu_read_unlock\(\)/],
    },
  },
  'synchronize_rcu() begins while the object is read': {
    scenario: rcu,
    variant: 'synchronize_rcu',
    text: `
      CPU0                     CPU1
      p = rcu_dereference();  // -> foo

                               synchronize_rcu()

      rcu_read_unlock();`,
    answer: { waits: /From \S+ on, until rcu_read_unlock\(\): CPU1 waits for a grace period/ },
  },
  'the walker announces itself and is not seen, with a full barrier': {
    scenario: targeted,
    variant: 'smp_mb',
    text: `
      CPU0                     CPU1
      WRITE_ONCE(active, 1);
      smp_mb();
      pmd = pmdp_get_lockless(pmdp);  // -> pteA

                               READ_ONCE(active);  // 0

      ptep_get_lockless();`,
    answer: { next: 'READ_ONCE()', because: [/READ_ONCE\(\) shows '1'/] },
  },
  'the same where the walker has no barrier': {
    scenario: targeted,
    variant: 'walker without smp_mb',
    text: `
      CPU0                     CPU1
      WRITE_ONCE(active, 1);
      pmd = pmdp_get_lockless(pmdp);  // -> pteA

                               READ_ONCE(active);  // 0

      ptep_get_lockless();`,
    answer: { after: ['use-after-free'] },
  },
  'a freed object is handed out again under its reader': {
    scenario: slab,
    variant: 'reference',
    text: `
      CPU0                     CPU1
      obj = rcu_dereference(table);  // -> A

                               <A freed>
                               get_freelist(cache);  // A again

      rcu_read_unlock();`,
    answer: {},
  },
  'the host takes the vCPU back before the flush asks for it': {
    scenario: steal,
    variant: 'atomic',
    text: `
      vCPU0                    vCPU1
      <schedules out>
                               if (state & KVM_VCPU_PREEMPTED)
      <schedules back in>
                               if (!try_cmpxchg(,&state, state | KVM_VCPU_FLUSH_TLB))
      <IPI>`,
    answer: {},
  },
  'both ways of the flush are not taken at once': {
    scenario: steal,
    variant: 'atomic',
    text: `
      vCPU0                    vCPU1
                               if (try_cmpxchg(,&state, state | KVM_VCPU_FLUSH_TLB))
      <schedules back in>
      <IPI: flush_tlb_func>`,
    answer: { next: '<IPI: flush_tlb_func>', because: [/nothing more to do|does nothing/] },
  },
};

describe.each(Object.entries(questions))('%s', (_title, { scenario, variant, text, answer }) => {
  const result = ask(scenario, variant, text, { fixTypos: text.includes('gather_mmut') });

  test('has its answer', () => {
    expect(result.limit).toBeNull();
    expect(result.answer).toBe('next' in answer ? 'unreachable' : 'reachable');
    if ('next' in answer) {
      expect(result.stopsAt?.title).toBe(answer.next);
      const because = result.stopsAt?.because.join(' ') ?? '';
      for (const reason of answer.because) expect(because).toMatch(reason);
    } else {
      expect(result.completions).toMatchObject({ kinds: answer.after ?? [], exhaustive: true });
      expect(result.completions?.runs).toBeGreaterThan(0);
      expect(result.waits.join(' ')).toMatch(answer.waits ?? /^/);
    }
  });

  test('its run replays', () => {
    const { schedule } = parseToken(result.token ?? '');
    const { steps } = replayToken(scenario, variant, schedule);
    expect(steps.map(({ op }) => op)).toEqual(result.run?.steps.map(({ op }) => op));
    const worst = result.completions?.token;
    if (worst) {
      const run = replayToken(scenario, variant, parseToken(worst).schedule);
      expect(result.completions?.kinds).toContain(run.violation?.kind);
    }
  });
});

test('there are twenty questions and more, with both answers', () => {
  const answers = Object.values(questions).map(({ answer }) => 'next' in answer);
  expect(answers.length).toBeGreaterThanOrEqual(20);
  expect(answers.filter((unreachable) => unreachable).length).toBeGreaterThan(7);
  expect(answers.filter((unreachable) => !unreachable).length).toBeGreaterThan(7);
});

test('a second diagram in the same mail is not silently left out', () => {
  const { answer, notes } = ask(rcu, 'call_rcu', `${readerFirst}\nOr:\n${readerFirst}`);
  expect(answer).toBe('unreachable');
  expect(notes).toEqual([
    'line 13: another diagram begins here; it is not asked. Leave out what is above it to ask it',
  ]);
});
