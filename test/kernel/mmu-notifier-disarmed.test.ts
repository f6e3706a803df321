import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import batch from '../../scenarios/mm/batched-tlb-flush.ts';
import collapse from '../../scenarios/mm/gup-fast-vs-collapse.ts';
import cow from '../../scenarios/mm/cow-vs-writeprotect.ts';
import longterm from '../../scenarios/mm/gup-fast-longterm.ts';
import migration from '../../scenarios/mm/gup-fast-vs-migration.ts';
import munmap from '../../scenarios/mm/gup-fast-vs-munmap.ts';
import retract from '../../scenarios/mm/gup-fast-vs-retract.ts';
import share from '../../scenarios/mm/gup-fast-vs-share.ts';
import nested from '../../scenarios/mm/nested-unmapping.ts';
import batched from '../../scenarios/mm/reclaim-batch-vs-zap.ts';
import writeback from '../../scenarios/mm/zap-vs-writeback.ts';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { explore } from '../../src/explore/explore.ts';
import type { Run } from '../../src/explore/run.ts';
import { new_mm, new_page } from '../../src/kernel/boot.ts';
import * as hooks from '../../src/kernel/mm/mmu_notifier-hooks.ts';
import { mmu_notifier_range_init } from '../../src/kernel/mm/mmu_notifier.ts';
import type { Mm } from '../../src/kernel/mm/types.ts';
import { READ, WRITE, type Cell } from '../../src/machine/cells.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import { buildVariant } from '../../src/scenario/program.ts';
import type { Scenario } from '../../src/scenario/scenario.ts';
import { tasks } from '../zoo/tables.ts';

/**
 * "No-op when disarmed" (mmu-notifier-core v14, 2008): with CONFIG_MMU_NOTIFIER and nobody registered, the primary
 * MMU does what it does without, and one load for each hook.
 */

const OPTIONS = { limits: {}, now: () => 0 };
const HOOK = 'mm->notifier_subscriptions';

/** The scenario, compiled with notifiers. */
function compiledIn(scenario: Scenario): Scenario {
  const { definition } = scenario;
  const config = { ...definition.config, MMU_NOTIFIER: true };
  return Object.freeze({ ...scenario, definition: { ...definition, config } });
}

interface Told {
  /** The runs, up to what commutes: what each actor did, and in which order they touched each cell. */
  readonly runs: ReadonlySet<string>;
  readonly count: number;
  /** Loads of the pointer that says whether there is a subscriber. */
  readonly hooks: number;
}

/** One access: who made it, as his how-manieth step, and how. */
interface Touch {
  readonly by: string;
  readonly kind: number;
}

/** The history of a cell. Neighbours that are of one kind and no writes commute; last reads order nothing. */
function history(touches: readonly Touch[]): string {
  const groups: Touch[][] = [];
  for (const touch of touches) {
    const last = groups.at(-1);
    if (last?.[0]?.kind === touch.kind && touch.kind !== WRITE) last.push(touch);
    else groups.push([touch]);
  }
  if (groups.at(-1)?.[0]?.kind === READ) groups.pop();
  const text = ({ by, kind }: Touch): string => `${by}:${kind}`;
  return groups.map((group) => group.map(text).sort().join()).join(' ');
}

/** The run without its hooks, whose loads are checked and counted. */
function traceOf(run: Run): { readonly trace: string; readonly hooks: number } {
  const { machine } = run;
  const { cells, memory } = machine;
  const hook = memory.everyWord().find(({ name }) => name === HOOK)?.cell;
  const steps = new Map<string, number>();
  const touched = new Map<Cell, Touch[]>();
  const done: string[] = [];
  let hooks = 0;
  for (let depth = 0; depth < run.depth; depth++) {
    const end = depth + 1 < run.depth ? run.startAt[depth + 1]! : cells.top;
    const all = Array.from(
      { length: end - run.startAt[depth]! },
      (_, k) => run.startAt[depth]! + k,
    );
    const name = run.nodeBefore(depth).op!.def.name;
    const own = all.filter((at) => cells.cell[at] === hook);
    if (own.length > 0) {
      hooks++;
      expect(name).toBe('read'); // a plain load, and it finds NULL
      expect(own.map((at) => [cells.kind[at], cells.old[at]])).toEqual([[READ, 0]]);
      expect(all.filter((at) => cells.kind[at] !== READ)).toEqual([]);
      continue;
    }
    const actor = machine.nameOf(machine.actor(run.actorAt[depth]!));
    const ordinal = steps.get(actor) ?? 0;
    steps.set(actor, ordinal + 1);
    const by = `${actor}#${ordinal}`;
    done.push(`${by} ${name}`);
    for (const at of all) {
      const cell = cells.cell[at]!;
      touched.set(cell, [...(touched.get(cell) ?? []), { by, kind: cells.kind[at]! }]);
    }
  }
  const trace = [
    ...done.sort(),
    ...[...touched.values()]
      .map(history)
      .filter((all) => all !== '')
      .sort(),
  ].join('\n');
  return { trace: createHash('sha1').update(trace).digest('hex'), hooks };
}

function told(scenario: Scenario, variant: string): Told {
  const runs = new Set<string>();
  let [count, hooks] = [0, 0];
  explore(buildVariant(scenario, variant, { traced: false }).program, {
    ended(run) {
      const one = traceOf(run);
      runs.add(one.trace);
      count++;
      hooks += one.hooks;
    },
  });
  return { runs, count, hooks };
}

const CASES: readonly (readonly [Scenario, string])[] = [
  [nested, 'flush if nested'], // madvise
  [munmap, 'rcu'],
  [munmap, 'arm64, rcu'],
  [migration, 'linux'],
  [collapse, 'both'],
  [cow, 'pending is announced'], // wp_page_copy()
  [batched, 'madvise'], // and try_to_unmap()
  [batched, 'mprotect'],
  [longterm, 'linux'], // truncate_inode_folio()
  [retract, 'defer'],
  [share, 'ksm'],
  [share, 'fork'],
  [writeback, 'mkclean flushes'], // page_vma_mkclean_one()
  [batch, 'running'], // arch_tlbbatch_add_pending()
];

describe.each(CASES.map(([scenario, variant]) => [scenario.id, variant, scenario] as const))(
  '%s / %s',
  (_id, variant, scenario) => {
    test('does the same, and asks at each hook whether anybody is there', () => {
      const without = told(scenario, variant);
      const disarmed = told(compiledIn(scenario), variant);
      expect(without.hooks).toBe(0);
      expect(disarmed.hooks).toBeGreaterThanOrEqual(disarmed.count); // one in each run at least
      expect(disarmed.runs.size).toBe(without.runs.size);
      expect([...disarmed.runs].filter((run) => !without.runs.has(run))).toEqual([]);
    });
  },
);

/** Where CPUs are interrupted, the load is one more place at which a handler can come. */
test.each([
  [munmap, 'arm64, rcu'],
  [batched, 'madvise'],
  [batched, 'mprotect'],
])(
  'without interrupts the verdicts and the numbers of runs are the same, too',
  (scenario, variant) => {
    const { verdict, explored } = checkVariant(scenario, variant, OPTIONS);
    const disarmed = checkVariant(compiledIn(scenario), variant, OPTIONS);
    expect([disarmed.verdict, disarmed.explored.runs]).toEqual([verdict, explored.runs]);
  },
);

/** The steps that an actor takes who does nothing but call the hook. */
function stepsOf(hook: (mm: Mm) => Steps<unknown>): string[] {
  const machine = new Machine({
    arch: x86_64_descriptor,
    cpus: [{ name: 'CPU0', virtual: false }],
    sanitizers: all_sanitizers,
    settings: { config: { MMU_NOTIFIER: true } },
  });
  const mm = new_mm(machine, 'mm', { 0x1000: new_page(machine, 'X') }, { on: [] });
  machine.cells.settle();
  const steps: string[] = [];
  explore(
    tasks(machine, () => hook(mm)),
    {
      ended(run) {
        for (let depth = 0; depth < run.depth; depth++) {
          const { def, args } = run.nodeBefore(depth).op!;
          steps.push(`${def.name} ${(args[0] as Word).name}`);
        }
      },
    },
  );
  return steps;
}

const HOOKS: Readonly<Record<string, (mm: Mm) => Steps<unknown>>> = {
  'the start of an invalidation': (mm) => hooks.invalidation_begins(mm, 0x1000, 0x2000),
  'its end': (mm) => hooks.invalidation_ends(mmu_notifier_range_init(mm, 0x1000, 0x2000)),
  'the end of the address space': (mm) => hooks.secondary_mmus_released(mm),
  'the look of reclaim': (mm) => hooks.used_through_secondary(mm, 0x1000, 0x2000),
  'the look of the LRU': (mm) => hooks.aged_through_secondary(mm, 0x1000, 0x2000),
  'the flush of a TLB': (mm) => hooks.secondary_tlbs_flushed(mm, 0x1000, 0x2000),
};

test('there are no other hooks', () => {
  expect(Object.keys(HOOKS)).toHaveLength(Object.keys(hooks).length);
});

test.each(Object.entries(HOOKS))('%s is exactly one load', (_name, hook) => {
  expect(stepsOf(hook)).toEqual([`read ${HOOK}`]);
});
