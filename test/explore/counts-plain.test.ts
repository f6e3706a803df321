import { expect, test } from 'vitest';
import { exploreFinals } from '../zoo/final-states.ts';
import { title, zoo, type Counted } from '../zoo/index.ts';

/** Programs small enough for every interleaving. */
const SMALL: readonly string[] = [
  ...['SB', 'MP', 'LB', 'S', 'R', '2+2W', 'IRIW', 'WRC', 'ISA2', 'RWC', 'CoRR', 'n6', 'W+RRR+W'],
  ...['SBring(3)', 'SBring(4)', 'viktor-relseq', 'readers(2)', 'lastzero(3)', 'lastwrite(4)'],
  ...['nw2t(3)', 'redco(2)', 'racepar(3)', 'inc(3)', 'binc(3)', 'casrot(5)', 'casw(3)', 'wcas(4)'],
  ...['wrw(3)', 'CoA(1)', 'fib(2)', 'fibobs(1)', 'fib3(1)', 'lockinc(4)', 'spinlock(4)'],
  ...['ticket(3)', 'ticket with assume(3)', 'spinlock with assume(3)', 'ABBA', 'peterson'],
  ...['szym1', 'lamport', 'treiber(1,2)', 'treiber(2,1)', 'msq(1,1)'],
  ...['seqlock(1,1)', 'seqlock(2,1)', 'seqlock with tries(1,1,2)', 'toyRcu(1)', 'toyRcu(2)'],
];

const small: readonly Counted[] = zoo.filter((counted) => SMALL.includes(title(counted)));

test('every name above is in the zoo', () => {
  expect(small.map(title).sort()).toEqual([...SMALL].sort());
});

test.each(small.map((counted) => [title(counted), counted] as const))(
  '%s ends in the same states as without reduction',
  (_title, { build }) => {
    const reduced = exploreFinals(build());
    const plain = exploreFinals(build(), { engine: 'plain' });
    expect(reduced.finals).toEqual(plain.finals);
    expect(reduced.runs).toBeLessThanOrEqual(plain.runs);
    expect(reduced.assumed > 0).toBe(plain.assumed > 0);
  },
);
