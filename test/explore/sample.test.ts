import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { sample } from '../../src/explore/sample.ts';
import { build } from '../compare/build.ts';
import { generate } from '../compare/generate.ts';
import { ABBA } from '../zoo/locks.ts';

/** The schedules of some runs, by text. */
function schedules(oracle: 'random' | 'pct', seed: number, runs: number): string[] {
  const seen: string[] = [];
  sample(ABBA(), {
    oracle,
    seed,
    runs,
    wanted: () => false,
    ended: (run) => {
      const { actors, outcomes } = run.schedule();
      seen.push(`${actors.join()}/${outcomes.join()}`);
    },
  });
  return seen;
}

describe.each(['random', 'pct'] as const)('%s runs', (oracle) => {
  test('are the same for the same seed, and others for another', () => {
    expect(schedules(oracle, 1, 50)).toEqual(schedules(oracle, 1, 50));
    expect(schedules(oracle, 1, 50)).not.toEqual(schedules(oracle, 2, 50));
  });

  test('find the deadlock of two locks taken in opposite orders, and stop there', () => {
    const found = sample(ABBA(), {
      oracle,
      seed: 1,
      runs: 1000,
      wanted: ({ violations }) => violations.size > 0,
    });
    expect(found.stopped).toBe(null);
    expect(found.deadlocks).toBe(1);
    expect([...found.violations.values()].map(({ violation }) => violation.kind)).toEqual([
      'deadlock',
    ]);
  });

  test('end at the number that was asked for', () => {
    expect(schedules(oracle, 3, 20)).toHaveLength(20);
    const found = sample(ABBA(), { oracle, seed: 3, runs: 20, wanted: () => false });
    expect(found).toMatchObject({ runs: 20, stopped: 'runs' });
  });

  test('are runs that exhaustive exploration knows, every outcome of a step among them', () => {
    for (let index = 0; index < 20; index++) {
      const spec = generate('choose', 4, index);
      const all = explore(build(spec));
      const seen = new Set<string>();
      const found = sample(build(spec), {
        oracle,
        seed: index,
        runs: 300,
        wanted: () => false,
        ended: (run) => seen.add(run.schedule().outcomes.join()),
      });
      const unknown = [...found.violations.keys()].filter((key) => !all.violations.has(key));
      expect(unknown).toEqual([]);
      if (all.runs > 1 && spec.actors.some(({ body }) => body.some(({ op }) => op === 'choose'))) {
        expect(seen.size).toBeGreaterThan(1);
      }
    }
  });
});
