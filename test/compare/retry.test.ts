import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import type { Run } from '../../src/explore/run.ts';
import { build } from './build.ts';
import { generate } from './generate.ts';
import type { Spec, Stmt } from './spec.ts';

/**
 * A loop that waits for a change before each further round must end as the same loop does that does not wait.
 * The latter is written out as so many rounds as there can be changes, and more.
 */
const ROUNDS = 5;
const PROGRAMS = 200;

/** What memory says when everybody has finished. */
function ends(spec: Spec): Set<string> {
  const found = new Set<string>();
  const program = build(spec);
  explore(program, {
    maxRuns: 200_000,
    ended(run: Run, ending) {
      if (ending !== 'complete') return;
      found.add((program.words ?? []).map(({ cell }) => run.machine.cells.peek(cell)).join());
    },
  });
  return found;
}

function writtenOut(body: readonly Stmt[]): Stmt[] {
  return body.map((stmt) => (stmt.op === 'retry' ? { ...stmt, rounds: ROUNDS } : stmt));
}

test.each(['sc', 'tso'] as const)('a loop that waits ends as one that does not: %s', (model) => {
  let loops = 0;
  let ended = 0;
  for (let index = 0; index < PROGRAMS; index++) {
    const spec = generate('retries', 3, index, 2_000, model);
    if (!spec.actors.some(({ body }) => body.some(({ op }) => op === 'retry'))) continue;
    loops++;
    const actors = spec.actors.map((actor) => ({ ...actor, body: writtenOut(actor.body) }));
    const waits = ends(spec);
    ended += waits.size;
    expect([...waits].sort(), `program ${index}`).toEqual([...ends({ ...spec, actors })].sort());
  }
  expect(loops).toBeGreaterThan(PROGRAMS / 3);
  expect(ended).toBeGreaterThan(PROGRAMS / 4); // many never end
});
