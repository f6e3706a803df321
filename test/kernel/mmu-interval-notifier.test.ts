import { expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import { entered, safe, scenario, type Steps, type Word } from '../../src/index.ts';
import * as linux from '../../src/kernel/index.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import type { View } from '../../src/scenario/predicates.ts';

/** What is always so of the sequences (comment of mm/mmu_notifier.c), under insertions and removals. */

const {
  PAGE_SIZE,
  inserted,
  mmu_interval_notifier_insert,
  mmu_interval_notifier_remove,
  mmu_notifier_invalidate_range_end,
  mmu_notifier_invalidate_range_start,
  mmu_notifier_range_init,
  new_mirror,
  new_mm,
  new_page,
  notifiers_of,
} = linux;

const ADDR = 0x1000;

interface State {
  readonly mm: linux.Mm;
  readonly old: linux.Mirror;
  readonly young: linux.Mirror;
  /** 1 when the invalidation is over. */
  readonly over: Word;
}

function* invalidate({ mm }: State): Steps<void> {
  const range = mmu_notifier_range_init(mm, ADDR, ADDR + PAGE_SIZE);
  yield* mmu_notifier_invalidate_range_start(range);
  yield* mmu_notifier_invalidate_range_end(range);
}

function always(what: string, holds: (v: View<State>) => boolean): string[] {
  const question = scenario<State>('sequences', {
    machine: x86_64({ cpus: 2 }),
    config: { MMU_NOTIFIER: true },
    setup(m) {
      const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }, { on: [] });
      const mirror = (name: string): linux.Mirror =>
        new_mirror(m, mm, name, { start: ADDR, length: PAGE_SIZE });
      const [old, young] = [mirror('old'), mirror('young')];
      inserted(m, old.sub);
      return { mm, old, young, over: m.memory.variable('over') };
    },
    run: {
      *CPU0(s) {
        yield* invalidate(s);
        yield* linux.WRITE_ONCE(s.over, 1);
      },
      *CPU1({ old, young }) {
        yield* mmu_interval_notifier_insert(young.sub);
        yield* mmu_interval_notifier_remove(old.sub);
      },
    },
    always: { [what]: holds },
    sometimes: { 'the epoch ends': entered('CPU0', linux.mn_itree_inv_end) },
    variants: { only: safe() },
  });
  const { verdict, kinds } = checkVariant(question, 'only', { limits: {}, now: () => 0 });
  return [verdict, ...kinds];
}

test('the sequence of a subscription is odd, and never ahead of that of the address space', () => {
  const ofOld = (v: View<State>): number => v.read(v.s.old.sub.invalidate_seq);
  const ofMm = (v: View<State>): number => v.read(notifiers_of(v.s.mm).subs.invalidate_seq);
  expect(always('odd', (v) => ofOld(v) % 2 === 1)).toEqual(['safe']);
  expect(always('not ahead', (v) => ofOld(v) <= ofMm(v))).toEqual(['safe']);
  expect(always('behind', (v) => ofOld(v) < ofMm(v))).toEqual(['fails', 'property']); // an open epoch
});

test('the address space has an odd sequence only while something is being invalidated', () => {
  const holds = (v: View<State>, least: number): boolean => {
    const { subs } = notifiers_of(v.s.mm);
    return v.read(subs.invalidate_seq) % 2 === 0 || v.read(subs.active_invalidate_ranges) >= least;
  };
  expect(always('while one is active, or its end is being written', (v) => holds(v, 0))).toEqual([
    'safe',
  ]);
  expect(always('while one is active', (v) => holds(v, 1))).toEqual(['fails', 'property']);
});

test('each invalidation is counted while it lasts, and no longer', () => {
  const active = (v: View<State>): number =>
    v.read(notifiers_of(v.s.mm).subs.active_invalidate_ranges);
  expect(always('none that is over', (v) => v.read(v.s.over) === 0 || active(v) === 0)).toEqual([
    'safe',
  ]);
  expect(always('none twice, none ended twice', (v) => [0, 1].includes(active(v)))).toEqual([
    'safe',
  ]);
  expect(always('none at all', (v) => active(v) === 0)).toEqual(['fails', 'property']);
});
