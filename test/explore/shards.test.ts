import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import type { Exploration } from '../../src/explore/exploration.ts';
import type { Program } from '../../src/explore/run.ts';
import { ShardRunner, type BatchRunner, type ShardSizes } from '../../src/explore/shards.ts';
import { build as buildSpec } from '../compare/build.ts';
import { FAMILY_NAMES, generate } from '../compare/generate.ts';
import { Random } from '../compare/random.ts';
import { inc } from '../zoo/counters.ts';
import { title, zoo } from '../zoo/index.ts';
import { build as buildProgram, underTso } from '../zoo/program.ts';
import { beside } from '../zoo/transform.ts';
import { times } from '../zoo/words.ts';

/** So small that programs of some hundred runs need many. */
const SIZES: ShardSizes = { first: 300, each: 90, batch: 8 };
const UNLIMITED = { runs: Infinity, steps: Infinity };

/**
 * Explores shards as threads would: each runner has built the program for itself, who takes a shard is a
 * matter of chance, and the later shards of a batch may be done first.
 */
function elsewhere(build: () => Program, seed: number): BatchRunner {
  const random = new Random(seed);
  const runners = [0, 1, 2].map(() => new ShardRunner(build(), {}, SIZES));
  return (shards) => {
    const order = shards.map((_, at) => at).sort(() => random.below(3) - 1);
    const results = order.map((at) => {
      const runner = runners[random.below(runners.length)]!;
      return { at, result: runner.explore(shards[at]!, UNLIMITED) };
    });
    return results.sort((a, b) => a.at - b.at).map(({ result }) => structuredClone(result));
  };
}

function expectSame(build: () => Program, seed: number): Exploration {
  const here = explore(build(), { sizes: SIZES });
  const there = explore(build(), { sizes: SIZES, shards: elsewhere(build, seed) });
  expect(there).toEqual(here);
  return here;
}

describe('who explores a shard changes nothing of the answer', () => {
  const middling = zoo.filter(({ runs }) => runs > 50 && runs < 3000);

  test.each(middling.map((counted) => [title(counted), counted] as const))('%s', (_title, it) => {
    const { runs, stopped } = expectSame(() => it.build(), 1);
    expect({ runs, stopped }).toEqual({ runs: it.runs, stopped: null });
    if (it.tso !== null) {
      expect(expectSame(() => underTso(it.build()), 2).runs).toBe(it.tso);
    }
  });

  test.each(FAMILY_NAMES)('generated programs: %s', (family) => {
    for (let index = 0; index < 12; index++) {
      const spec = generate(family, 5, index);
      expectSame(() => buildSpec(spec), index);
    }
  });
});

test('actors with high numbers are shared like others', () => {
  const idle = (): Program =>
    buildProgram({ words: {}, threads: () => times(60, () => function* () {}) });
  const { runs } = expectSame(() => beside(idle(), inc(4)), 3);
  expect(runs).toBe(576);
});

test('a search that fits the first shard is not shared', () => {
  const small = zoo.find(({ name }) => name === 'SB')!;
  const explored = explore(small.build(), {
    shards: () => expect.unreachable('a search of three runs was shared'),
  });
  expect(explored.runs).toBe(small.runs);
});
