import { ASSUMED, BOUNDED } from '../actor.ts';
import { currentActivation, leaf } from '../fn.ts';
import { defineOp, perform, type Op, type Steps } from '../op.ts';
import type { Word } from '../memory.ts';

/** Named nondeterminism, waiting, and the two ways to leave a run. */

const chooseOp = defineOp('choose', {
  outcomes: (_m, _who, [, options]: [string, readonly unknown[]]) => options.length,
  exec: (m, _who, [, options]) => options[m.outcome],
  describe: (_m, _who, [what], value) => ({ event: `${what}: ${String(value)}` }),
});

/** Tries every option. `what` names the decision in diagrams (`GFP_NOWAIT`). */
export function* choose<T extends string | number | boolean>(
  what: string,
  options: readonly T[],
): Steps<T> {
  return (yield* perform(chooseOp, [what, options])) as T;
}

const awaitOp = defineOp('spin_until', {
  guard: (
    read,
    _m,
    _who,
    [words, predicate]: [readonly Word[], (...values: number[]) => boolean],
  ) => predicate(...words.map((word) => read.get(word.cell))),
  exec: (m, _who, [words]) => m.cells.get((words[0] as Word).cell),
  waitsFor: (_m, _who, [words]) => `a change of ${words.map((word) => word.name).join(', ')}`,
});

/**
 * Waits until `predicate` holds for the values of `words`, and returns the first of them. The actor is
 * disabled meanwhile: each change is explored once, not each retry. `words` are words of static memory;
 * they are named so that the explorer knows who can end the wait.
 */
export const spin_until = leaf(function* spin_until(
  words: readonly Word[],
  predicate: (...values: number[]) => boolean,
): Steps<number> {
  return yield* perform(awaitOp, [words, predicate]);
});

const assumeOp = defineOp('assume', {
  exec: (m, who, [condition]: [boolean]) => {
    if (!condition) m.cells.set(m.cellsOf(who.index).status, ASSUMED);
    return undefined;
  },
  ghost: true,
});

/** Gives up the run if the condition does not hold: it is outside the question, counted as blocked. */
export function* assume(condition: boolean): Steps<void> {
  if (!condition) yield* perform(assumeOp, [condition]);
}

const boundOp = defineOp('bounded', {
  exec: (m, who, [_limit]: [number]) => {
    m.cells.set(m.cellsOf(who.index).status, BOUNDED);
    return undefined;
  },
  ghost: true,
});

/** What an actor does instead of going on behind a loop that ran out of rounds: nothing is known there. */
export function outOfRounds(limit: number): Op {
  return { def: boundOp, args: [limit] };
}

/**
 * A loop of at most `limit` rounds: `for (const _ of bounded(3)) ...`. If the bound is ever the reason to
 * stop, the verdict is `inconclusive` (E302): nothing is known about a further round.
 */
export function* bounded(limit: number): Generator<number, void, undefined> {
  const at = new Error();
  const activation = currentActivation();
  if (activation) activation.bounds++;
  try {
    for (let round = 0; round < limit; round++) yield round;
    if (activation) activation.exhausted ??= { limit, at };
  } finally {
    if (activation) activation.bounds--;
  }
}

const joinOp = defineOp('join', {
  guard: (read, m, _who, [actors]: [readonly number[]]) =>
    actors.every((index) => read.get(m.cellsOf(index).status) !== 0),
  exec: () => undefined,
  waitsFor: (m, _who, [actors]) =>
    `the end of ${actors.map((index) => m.actor(index).name).join(', ')}`,
});

/** Waits until the actors with these indices have ended. */
export const join = leaf(function* join(...actors: number[]): Steps<void> {
  yield* perform(joinOp, [actors]);
});
