import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import type { Run } from '../../src/explore/run.ts';
import { isRetry } from '../../src/machine/ops/retry.ts';
import { build } from './build.ts';
import { generate } from './generate.ts';
import { holds } from './ops.ts';
import type { RetryStmt } from './retries.ts';
import type { Spec, Stmt } from './spec.ts';

/**
 * A loop that waits for a change before each further round must end as the same loop does that does not wait
 * (written out as so many rounds as there can be changes, and more), and where it waits for ever, its condition
 * must be one that does not hold and that nobody will make true.
 */
const ROUNDS = 5;
const PROGRAMS = 800;

interface Ends {
  /** What memory says when everybody has finished. */
  readonly finished: Set<string>;
  /** Loops that wait although their condition holds, of those that wait in the end. */
  readonly wrongly: string[];
  waiting: number;
}

function ends(spec: Spec): Ends {
  const found: Ends = { finished: new Set(), wrongly: [], waiting: 0 };
  const program = build(spec);
  const words = program.words ?? [];
  explore(program, {
    maxRuns: 200_000,
    ended(run: Run, ending) {
      const { cells } = run.machine;
      const values = words.map(({ cell }) => cells.peek(cell));
      if (ending === 'complete') found.finished.add(values.join());
      spec.actors.forEach(({ body }, actor) => {
        const op = run.nodes[actor]?.op;
        const loops = body.filter((stmt): stmt is RetryStmt => stmt.op === 'retry');
        if (!op || !run.isAlive(actor) || !isRetry(op.def) || loops.length !== 1) return;
        found.waiting++;
        const [loop] = loops as [RetryStmt];
        const read = loop.words.map((at) => () => values[at] as number);
        if (holds(loop.condition, read))
          found.wrongly.push(`actor ${actor}, words ${values.join()}`);
      });
    },
  });
  return found;
}

function writtenOut(body: readonly Stmt[]): Stmt[] {
  return body.map((stmt) => (stmt.op === 'retry' ? { ...stmt, rounds: ROUNDS } : stmt));
}

test.each(['sc', 'tso'] as const)('a loop that waits ends as one that does not: %s', (model) => {
  let finished = 0;
  let waiting = 0;
  for (let index = 0; index < PROGRAMS; index++) {
    const spec = generate('retries', 3, index, 2_000, model);
    if (!spec.actors.some(({ body }) => body.some(({ op }) => op === 'retry'))) continue;
    const actors = spec.actors.map((actor) => ({ ...actor, body: writtenOut(actor.body) }));
    const waits = ends(spec);
    finished += waits.finished.size;
    waiting += waits.waiting;
    expect(waits.wrongly, `program ${index}`).toEqual([]);
    const spins = ends({ ...spec, actors });
    expect([...waits.finished].sort(), `program ${index}`).toEqual([...spins.finished].sort());
  }
  expect(finished).toBeGreaterThan(PROGRAMS / 5);
  expect(waiting).toBeGreaterThan(PROGRAMS / 5);
});
