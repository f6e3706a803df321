import type { Actor } from '../actor.ts';
import { UPDATE, type Cell, type Reader } from '../cells.ts';
import { currentActivation } from '../fn.ts';
import type { Machine } from '../machine.ts';
import { defineOp, perform, type Steps } from '../op.ts';

/**
 * Loops that start again because something was not as it must be.
 *
 * Tried as they stand they have endless runs: the same round again and again, while others pause. So whoever
 * comes back to the head of such a loop waits until something has changed that the round looked at. Nothing
 * is lost: a round that would see the same values again does what the last one did, so it may as well not be
 * run. And nothing is invented: any change ends the wait, one that the round does not care for included.
 *
 * What a round looked at is what its steps have read, conditions of waiting steps included, each cell with the
 * value that it had at first. A cell that the round has changed itself, and not back, counts as a change:
 * the next round finds it different. Counts that only go up (quiescent states, store buffers) are no
 * state that a round could find again, and are left out.
 *
 * If the run ends with somebody waiting so, nobody is left who could change anything: a livelock, found as such.
 */

interface Seen {
  readonly cell: Cell;
  readonly value: number;
}

/** Where the innermost rounds of each actor begin in the list of accesses: a satellite per actor and depth. */
function startOf(m: Machine, who: Actor, depth: number): Cell {
  let starts = m.objects.get('rounds') as Map<string, Cell> | undefined;
  if (!starts) m.objects.set('rounds', (starts = new Map()));
  const key = `${who.index}/${depth}`;
  let cell = starts.get(key);
  if (cell === undefined) starts.set(key, (cell = m.cells.allocate()));
  return cell;
}

const beginOp = defineOp('round_begins', {
  ordering: 'none',
  exec: (m, who, [depth]: [number]) => {
    m.cells.poke(startOf(m, who, depth), m.cells.top);
    return undefined;
  },
  ghost: true,
});

/** What the steps of `who` since then have looked at. Equal lists are one object: they cross a trie edge. */
function lookedAt(m: Machine, who: Actor, since: number): readonly Seen[] {
  const { cells } = m;
  const seen = new Map<Cell, number>();
  for (let at = since; at < cells.top; at++) {
    const cell = cells.cell[at] as Cell;
    if (cells.kind[at] === UPDATE || seen.has(cell) || cells.tallies.has(cell)) continue;
    if (m.actorOfStep[cells.event[at] as number] === who.index)
      seen.set(cell, cells.old[at] as number);
  }
  const list = [...seen].map(([cell, value]) => ({ cell, value }));
  return m.rounds.at(m.rounds.id(list));
}

const endOp = defineOp('round_ends', {
  ordering: 'none',
  exec: (m, who, [depth]: [number]): readonly Seen[] =>
    lookedAt(m, who, m.cells.peek(startOf(m, who, depth))),
  ghost: true,
});

/** Has any of it changed? Every cell is asked, because each of them can end the wait. */
function changed(read: Reader, seen: readonly Seen[]): boolean {
  let differs = false;
  for (const { cell, value } of seen) if (read.get(cell) !== value) differs = true;
  return differs;
}

const againOp = defineOp('try_again', {
  ordering: 'none',
  guard: (read, _m, _who, [seen]: [readonly Seen[], number]) => changed(read, seen),
  exec: (m, who, [, depth]) => {
    m.cells.poke(startOf(m, who, depth), m.cells.top);
    return undefined;
  },
  waitsFor: (m, _who, [seen]) => {
    const names = wordNames(m, seen);
    return names.length === 0 ? 'a change that nobody can make' : `a change of ${names.join(', ')}`;
  },
  describe: () => ({ event: 'tries again' }),
});

/** Is this the step of somebody who goes round a loop and sees the same each time? */
export function isRetry(def: object): boolean {
  return def === againOp;
}

/** Which named variables a round has looked at, without locks' and pages' own bookkeeping. */
function wordNames(m: Machine, seen: readonly Seen[]): string[] {
  const cells = new Set(seen.map(({ cell }) => cell));
  return m.memory
    .everyWord()
    .filter(({ cell }) => cells.has(cell))
    .map(({ name }) => name);
}

/** What a round returns that must be gone through again. */
export const AGAIN: unique symbol = Symbol('again');

/**
 * Goes through `round` until it returns something else than AGAIN. A round must leave nothing behind when it
 * is to be repeated: locks dropped, references put.
 */
export function* retry<T>(round: () => Steps<T | typeof AGAIN>): Steps<T> {
  const activation = currentActivation();
  const depth = activation ? ++activation.rounds : 0;
  try {
    yield* perform(beginOp, [depth]);
    for (;;) {
      const result = yield* round();
      if (result !== AGAIN) return result;
      const seen = yield* perform(endOp, [depth]);
      yield* perform(againOp, [seen, depth]);
    }
  } finally {
    if (activation) activation.rounds--;
  }
}
