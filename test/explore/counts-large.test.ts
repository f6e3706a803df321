import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { SLOW, title, zoo } from '../zoo/index.ts';
import { underTso } from '../zoo/program.ts';

/**
 * The programs of counts.test.ts that have too many executions for it. What is larger still (lastzero(15),
 * big1) is counted by `npm run nightly`.
 */
const large = zoo.filter(({ slow }) => slow);

const engines = ['source', 'optimal'] as const;

test.each(
  large.flatMap((counted) =>
    engines.map((engine) => [title(counted), counted.runs, engine, counted] as const),
  ),
)('%s has %i executions by %s', (_title, runs, engine, { build }) => {
  const explored = explore(build(), { engine });
  expect({ runs: explored.runs, stopped: explored.stopped }).toEqual({ runs, stopped: null });
  if (engine === 'optimal') expect(explored.sleepBlocked).toBe(0);
});

/** With store buffers each run has more steps; beyond this it is for the benchmark. */
const MOST_UNDER_TSO = 60_000;

const largeUnderTso = zoo.flatMap((counted) =>
  counted.tso !== null && counted.tso > SLOW && counted.tso <= MOST_UNDER_TSO
    ? [{ ...counted, tso: counted.tso }]
    : [],
);

test.each(largeUnderTso.map((counted) => [title(counted), counted.tso, counted] as const))(
  '%s has %i executions under x86-TSO',
  (_title, tso, { build }) => {
    const explored = explore(underTso(build()));
    expect(explored.stopped).toBe(null);
    expect(explored.runs).toBe(tso);
  },
);
