import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { title, zoo } from '../zoo/index.ts';

/**
 * The programs of counts.test.ts that have too many executions for it. What is larger still (lastzero(15),
 * big1) is counted by `npm run bench`.
 */
const large = zoo.filter(({ slow }) => slow);

test.each(large.map((counted) => [title(counted), counted.runs, counted] as const))(
  '%s has %i executions',
  (_title, runs, { build }) => {
    const explored = explore(build());
    expect(explored.stopped).toBe(null);
    expect(explored.runs).toBe(runs);
  },
);
