import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import type { Program } from '../../src/explore/run.ts';
import { SLOW, title, zoo } from '../zoo/index.ts';
import { dekkerL, peterson, petersonL } from '../zoo/mutual-exclusion.ts';
import { underTso } from '../zoo/program.ts';
import { toyRcu } from '../zoo/rcu.ts';
import { szym1, szymL } from '../zoo/szymanski.ts';

/**
 * Under x86-TSO, other checkers agree on these counts: one more is redundancy, one fewer is a lost behaviour.
 * A load that reads what its own CPU has stored is where both come from.
 */
const quick = zoo.flatMap((counted) =>
  counted.tso !== null && counted.tso <= SLOW ? [{ ...counted, tso: counted.tso }] : [],
);

test.each(quick.map((counted) => [title(counted), counted.tso, counted] as const))(
  '%s has %i executions under x86-TSO',
  (_title, tso, { build }) => {
    const { runs, deadlocks, stopped } = explore(underTso(build()));
    expect({ runs, deadlocks, stopped }).toEqual({ runs: tso, deadlocks: 0, stopped: null });
  },
);

const BROKEN: readonly (readonly [name: string, build: () => Program, runs: number])[] = [
  ['peterson', () => peterson(false), 4],
  ['petersonL', () => petersonL(false), 2420],
  ['dekkerL', () => dekkerL(false), 1599],
  ['szym1', () => szym1(false), 6],
  ['szymL', () => szymL(false), 22_945],
];

test.each(BROKEN)('%s needs its barriers under x86-TSO, and only there', (_name, build, runs) => {
  expect(explore(build()).runs).toBe(runs);
  expect(() => explore(underTso(build()))).toThrow('two threads in the critical section');
});

test.each([1, 2, 3])('toy RCU with %i readers needs its barriers', (readers) => {
  expect(explore(toyRcu(readers, false)).runs).toBe(3 ** readers);
  expect(() => explore(underTso(toyRcu(readers, false)))).toThrow('what the updater had reclaimed');
});
