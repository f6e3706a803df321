import { expect, test } from 'vitest';
import { explore, type Exploration } from '../../src/explore/explore.ts';
import { Run } from '../../src/explore/run.ts';
import { ShardRunner } from '../../src/explore/shards.ts';
import type { Page } from '../../src/machine/memory.ts';
import { build } from '../compare/build.ts';
import type { ActorSpec, Spec, Stmt } from '../compare/spec.ts';

/** Actors and frames have the numbers in which a search happens to meet them: nothing may depend on those. */

function task(cpu: number, ...body: Stmt[]): ActorSpec {
  return { cpu, kind: 'task', shared: false, daemon: false, body };
}

function program(actors: readonly ActorSpec[], callback: readonly Stmt[] = []): Spec {
  return {
    family: 'numbering',
    model: 'sc',
    words: [0, 0, 0],
    locks: 0,
    pointers: 2,
    cpus: actors.map(() => ({ virtual: false, root: null })),
    actors,
    handlers: [[], [], callback, []],
    checks: [],
    mapped: [],
    pointing: [null, null],
  };
}

const alloc = (recycle: boolean): Stmt => ({ op: 'alloc', recycle, level: -1 });
const one = { received: false, plus: 1 };

test.each([1, 2, 3, 1000])('a shard does not depend on what %d threads explored', (threads) => {
  const spec = program([
    task(0, { op: 'tree-synchronize' }),
    task(1, { op: 'tree-call-rcu', handler: 2 }),
  ]);
  const sizes = { first: 11, each: 7, batch: 5 };
  const runners: ShardRunner[] = [];
  let next = 0;
  const shared = explore(build(spec), {
    sizes,
    shards: (shards) =>
      shards.map((shard) => {
        const runner = (runners[next++ % threads] ??= new ShardRunner(build(spec), {}, sizes));
        return runner.explore(shard, { runs: Infinity, steps: Infinity });
      }),
  });
  const counts = ({ runs, steps, sleepBlocked }: Exploration): object => ({
    runs,
    steps,
    sleepBlocked,
  });
  expect(next).toBeGreaterThan(5);
  expect(counts(shared)).toEqual(counts(explore(build(spec), { sizes })));
});

test('an outcome of an allocation means the same frame on a fresh machine', () => {
  const makes = (pointer: number): Stmt[] => [
    alloc(false),
    { op: 'publish', pointer },
    { op: 'free' },
  ];
  const spec = program([
    task(0, { op: 'read', word: 0 }, ...makes(0)),
    task(1, ...makes(1), { op: 'write', word: 0, value: one }),
    task(2, { op: 'wait', words: [0], condition: 'all-nonzero' }, alloc(true)),
  ]);
  const allocated = (run: Run): string => {
    const page = run.nodes[2]?.received as Page;
    return run.machine.memory.info(page.frame).name;
  };
  const names = new Set<string>();
  explore(build(spec), {
    ended(run) {
      const again = new Run(build(spec));
      const { actors, outcomes } = run.schedule();
      actors.forEach((actor, at) => {
        again.execute(again.order[actor] as number, outcomes[at] as number);
      });
      expect(allocated(again)).toBe(allocated(run));
      names.add(allocated(run));
    },
  });
  expect([...names].sort()).toEqual(['f@A0', 'f@A1', 'f@A2']);
});

test('two callbacks of one function get fresh pages of their own', () => {
  const spec = program(
    [task(0, { op: 'call-rcu', handler: 2 }), task(1, { op: 'call-rcu', handler: 2 })],
    [alloc(false), { op: 'deref-write', value: one }, { op: 'deref-read' }],
  );
  const { violations } = explore(build(spec));
  expect([...violations.values()].map(({ violation }) => violation.object).sort()).toEqual([
    'f@A0.1', // nobody gives them back
    'f@A1.1',
  ]);
});
