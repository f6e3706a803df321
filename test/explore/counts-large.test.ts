import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { title, zoo } from '../zoo/index.ts';

// lastzero(15) alone is 26 seconds: source sets without wakeup trees begin three million runs in vain.
const TIMEOUT = 240_000;

/** The programs of counts.test.ts that have too many executions for it. */
const large = zoo.filter(({ slow }) => slow);

test.each(large.map((counted) => [title(counted), counted.runs, counted] as const))(
  '%s has %i executions',
  { timeout: TIMEOUT },
  (_title, runs, { build }) => {
    const explored = explore(build());
    expect(explored.stopped).toBe(null);
    expect(explored.runs).toBe(runs);
  },
);
