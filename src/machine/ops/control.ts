import { ASSUMED, BOUNDED, type Actor } from '../actor.ts';
import type { Reader } from '../cells.ts';
import { currentActivation, leaf } from '../fn.ts';
import type { Machine } from '../machine.ts';
import { FREE, lifeGeneration, lifeState, type Word } from '../memory.ts';
import { defineOp, perform, type Op, type Steps } from '../op.ts';

/** Named nondeterminism, waiting, and the two ways to leave a run. */

const chooseOp = defineOp('choose', {
  ordering: 'none',
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

/**
 * What a condition may ask of a word: the value that a load would return, or null if the pointer dangles. A
 * condition then holds: somebody who waits on freed memory does not wait, he reads it, and the step says so.
 * Everything is read before anything is decided, because each of the cells can end the wait.
 */
export function contentOf(read: Reader, m: Machine, word: Word): number | null {
  return judged(read, m, word, read.get(word.cell));
}

/**
 * The guard of an op that looks first and needs an empty buffer only for the locked instruction that follows,
 * unless what it sees is a reason to do nothing.
 */
export function lockedUnless(
  read: Reader,
  m: Machine,
  who: Actor,
  word: Word,
  doesNothing: (value: number) => boolean,
): boolean {
  if (m.buffers === null) return true;
  const drained = m.buffers.isEmpty(read, who); // asked in any case: either of the two lets it go on
  const value = contentFor(read, m, who, word);
  return drained || value === null || doesNothing(value);
}

/** The same as `who` sees it, whose CPU may have a store to the word in its buffer. */
function contentFor(read: Reader, m: Machine, who: Actor, word: Word): number | null {
  const own = m.buffers?.forwardedNumber(read, who, word);
  return own === undefined ? contentOf(read, m, word) : judged(read, m, word, own);
}

function judged(read: Reader, m: Machine, word: Word, value: number): number | null {
  if (word.frame < 0) return value;
  const life = read.get(m.memory.info(word.frame).life);
  const epoch = read.get(word.epoch);
  if (lifeState(life) === FREE || lifeGeneration(life) !== word.generation) return null;
  return epoch === word.generation ? value : 0;
}

const awaitOp = defineOp('spin_until', {
  ordering: 'none', // loads; READ_ONCE() in a loop is no barrier
  guard: (
    read,
    m,
    who,
    [words, predicate]: [readonly Word[], (...values: number[]) => boolean],
  ) => {
    const values = words.map((word) => contentFor(read, m, who, word));
    return values.includes(null) || predicate(...(values as number[]));
  },
  exec: (m, who, [words]) => {
    for (const { frame, generation, name } of words) {
      if (!m.dereference(who, frame, generation, name)) return 0;
    }
    return m.load(who, words[0] as Word);
  },
  waitsFor: (_m, _who, [words]) => `a change of ${words.map((word) => word.name).join(', ')}`,
});

/**
 * Waits until `predicate` holds for the values of `words`, and returns the first of them. The actor is
 * disabled meanwhile: each change is explored once, not each retry. The words are named so that the
 * explorer knows who can end the wait.
 */
export const spin_until = leaf(function* spin_until(
  words: readonly Word[],
  predicate: (...values: number[]) => boolean,
): Steps<number> {
  return yield* perform(awaitOp, [words, predicate]);
});

const assumeOp = defineOp('assume', {
  ordering: 'none',
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

export const boundOp = defineOp('bounded', {
  ordering: 'none',
  exec: (m, who, [_limit, _message]: [limit: number, message?: string]) => {
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
  ordering: 'full', // whoever waits for an end sleeps, and so does whoever ends: schedule() is a barrier
  guard: (read, m, _who, [actors]: [readonly number[]]) =>
    actors.every(
      (index) =>
        read.get(m.cellsOf(index).status) !== 0 &&
        (m.buffers === null || m.buffers.isEmpty(read, m.actor(index))),
    ),
  exec: () => undefined,
  waitsFor: (m, _who, [actors]) =>
    `the end of ${actors.map((index) => m.actor(index).name).join(', ')}`,
  blockers: (m, _who, [actors]) =>
    actors
      .filter((index) => m.cells.peek(m.cellsOf(index).status) === 0)
      .map((actor) => ({ holds: 'end', actor })),
});

/** Waits until the actors with these indices have ended. */
export const join = leaf(function* join(...actors: number[]): Steps<void> {
  yield* perform(joinOp, [actors]);
});
