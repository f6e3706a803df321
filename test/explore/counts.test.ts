import { describe, expect, test } from 'vitest';
import { explore, type Exploration } from '../../src/explore/explore.ts';
import { algorithms, benchmarks, litmusTests, title, type Counted } from '../zoo/index.ts';

/** Other checkers agree on these counts: one more is redundancy, one fewer is a lost behaviour. */
function sameCount(counted: Counted, engine: 'source' | 'optimal'): void {
  const explored: Exploration = explore(counted.build(), { engine });
  const { runs, deadlocks, stopped, violations, sleepBlocked } = explored;
  if (engine === 'optimal') expect(sleepBlocked).toBe(0);
  expect({
    runs,
    deadlocks,
    stopped,
    kinds: [...violations.values()].map(({ violation }) => violation.kind),
  }).toEqual({
    runs: counted.runs,
    deadlocks: counted.deadlocks,
    stopped: null,
    kinds: counted.deadlocks > 0 ? ['deadlock'] : [],
  });
}

describe.each([
  { kind: 'litmus tests', programs: litmusTests },
  { kind: 'benchmarks of reduction', programs: benchmarks },
  { kind: 'algorithms', programs: algorithms },
])('$kind', ({ programs }) => {
  const quick = programs.filter(({ slow }) => !slow);
  const rows = quick.map((counted) => [title(counted), counted.runs, counted] as const);
  test.each(rows)('%s has %i executions', (_title, _runs, counted) => sameCount(counted, 'source'));
  test.each(rows)('%s has %i executions by wakeup trees, none of them begun in vain', (...row) =>
    sameCount(row[2], 'optimal'),
  );
});
