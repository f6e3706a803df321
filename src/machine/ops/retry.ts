import { GracewalkError } from '../../base/errors.ts';
import type { Actor } from '../actor.ts';
import { READ, UPDATE, type Cell, type Reader } from '../cells.ts';
import { currentActivation } from '../fn.ts';
import type { History, Machine } from '../machine.ts';
import { defineOp, perform, type Op, type Steps } from '../op.ts';
import { boundOp } from './control.ts';

/**
 * Loops that start again because something was not as it must be.
 *
 * Tried as they stand they have endless runs: the same round again and again, while others pause. So whoever
 * comes back to the head of such a loop waits until something has changed that the round has learned, if the
 * round has left everything as it found it. Nothing is lost: such a round might as well not have been, so a run
 * with another one behind it, which may begin before the change and end after it, is the run without it, where
 * that other one is the first; it is tried, because a loop may begin at any moment. And nothing is invented: any
 * change ends the wait, one that the round does not care for included.
 * A round that has changed something is followed by the next one at once: what it has stored may be what others
 * have waited for, and a run without it would be another. That can go on for ever (a counter of rounds): behind
 * AT_MOST such rounds in a row nothing is known, and the run has come to a loop's bound.
 *
 * What a round has learned is what the steps that told it something have read, each cell with the value that it
 * had at first; of a reference count, whether there are any. What the round has changed itself, and not back,
 * counts as a change: the next round finds it different. So does a change of what the round has stored, which the
 * next one stores again. A lock that was waited for tells nothing: two loops that take one lock in turn must not
 * wake each other for ever. Counts that only go up (quiescent states, store buffers) are nothing that a round
 * could find again. A round that has seen two values of one cell, or whose own change somebody has taken back, is
 * not what the next one will be: it does not wait.
 *
 * What a round does in passing, and undoes, others see in the rounds that are tried. If somebody looks at such a
 * word (a trylock, at a lock that each round holds for a moment), and what ends the wait comes of that, the run
 * without the round is another one; then the verdict is not `safe` (explore/glimpses.ts).
 *
 * If the run ends with somebody waiting so, nobody is left who could change anything: a livelock, found as such.
 */

/** A cell that a round has learned something from. */
export interface Seen {
  readonly cell: Cell;
  readonly value: number;
  /** All that matters is whether it is above zero. */
  readonly sign: boolean;
}

/** The step with which the present round of each loop of an actor began: a satellite per actor and nesting. */
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
    m.cells.poke(startOf(m, who, depth), m.cells.depth);
    return undefined;
  },
  ghost: true,
});

/** Stands for "it would find something else at once". */
const AT_ONCE: Seen = Object.freeze({ cell: -1, value: 0, sign: false });
/** Stands for "the next round may go another way all by itself". */
const BY_CHANCE: Seen = Object.freeze({ cell: -2, value: 0, sign: false });

/**
 * What the steps of `who` since that one have learned. Equal lists are one object: they cross a trie edge. A step
 * that found what the round had stored there before learned nothing; if it found something else, the next round
 * may well find its own value.
 */
function learned(m: Machine, who: Actor, since: number): readonly Seen[] {
  const { cells } = m;
  const steps = m.history as History;
  const seen = new Map<Cell, Seen>();
  for (let step = since + 1; step < cells.depth; step++) {
    const isOwn = steps.actorAt[step] === who.index && howMuch(steps, step) !== 'nothing';
    if (isOwn && (steps.outcomesAt[step] as number) > 1) note(seen, BY_CHANCE);
  }
  /** What the round has stored last; undefined until the next access shows it. */
  const stored = new Map<Cell, number | undefined>();
  const puts = new Set<Cell>();
  for (let at = steps.startAt[since + 1] as number; at < cells.top; at++) {
    const cell = cells.cell[at] as Cell;
    if (cells.tallies.has(cell)) continue;
    const before = cells.old[at] as number;
    if (stored.has(cell) && stored.get(cell) === undefined) stored.set(cell, before);
    const step = cells.event[at] as number;
    if (steps.actorAt[step] !== who.index) continue;
    const isUpdate = cells.kind[at] === UPDATE; // it did not look
    if (cells.kind[at] !== READ && howMuch(steps, step) === 'stored') puts.add(cell);
    const learns = isUpdate || steps.valueAt[step] === undefined ? 'nothing' : howMuch(steps, step);
    if (learns !== 'nothing') {
      const sign = learns === 'sign';
      const own = stored.get(cell);
      if (own === undefined) note(seen, { cell, value: before, sign });
      else if (sign ? own > 0 !== before > 0 : own !== before) note(seen, AT_ONCE);
    }
    if (cells.kind[at] !== READ) stored.set(cell, undefined);
  }
  if (leavesAChange(m, who, since)) seen.set(AT_ONCE.cell, AT_ONCE);
  for (const cell of m.cells.unions) {
    const first = seen.get(cell);
    if (!first) continue;
    seen.delete(cell); // no guard may read it; what leads there has been read as well
    if (stored.has(cell) && (stored.get(cell) ?? cells.peek(cell)) !== first.value) {
      seen.set(AT_ONCE.cell, AT_ONCE);
    }
  }
  for (const [cell, own] of stored) {
    const first = seen.get(cell);
    const last = own ?? cells.peek(cell);
    if (first && (first.sign ? first.value > 0 !== last > 0 : first.value !== last)) {
      seen.set(AT_ONCE.cell, AT_ONCE); // also if somebody takes the change back
    }
  }
  for (const cell of puts) {
    note(seen, { cell, value: stored.get(cell) ?? cells.peek(cell), sign: false });
  }
  return m.rounds.at(m.rounds.id([...seen.values()]));
}

/**
 * Is anything other than the round has found it, by what the round has stored? What it counts up and down again
 * is not, nor is a store of what stood there; unless somebody else has stored there in between, whose store is
 * lost then. Of buffered stores it matters what they are, not when they reach memory.
 */
function leavesAChange(m: Machine, who: Actor, since: number): boolean {
  const { cells } = m;
  const steps = m.history as History;
  const after = new Map<Cell, number>();
  const off = new Map<Cell, number>();
  const lastOwn = new Map<Cell, number>();
  const others = new Map<Cell, number>();
  for (let at = cells.top - 1; at >= (steps.startAt[since + 1] as number); at--) {
    const cell = cells.cell[at] as Cell;
    if (cells.kind[at] === READ || cells.tallies.has(cell) || cells.unions.has(cell)) continue;
    const before = cells.old[at] as number;
    const step = cells.event[at] as number;
    const value = after.get(cell) ?? cells.peek(cell);
    after.set(cell, before);
    if (m.buffers?.isBookkeeping(cell)) continue;
    if (steps.actorAt[step] !== who.index) {
      if (lastOwn.has(cell)) others.set(cell, step);
      continue;
    }
    const isOver = others.has(cell) && isStore(steps, lastOwn.get(cell) as number);
    if (isOver && value !== before) return true;
    if (!lastOwn.has(cell)) lastOwn.set(cell, step);
    off.set(cell, (off.get(cell) ?? 0) + value - before);
  }
  for (const { cell, value, before } of m.buffers?.storedSince(who, since) ?? []) {
    if (typeof value === 'number' && typeof before === 'number') {
      off.set(cell, (off.get(cell) ?? 0) + value - before);
    } else if (value !== before) return true;
  }
  for (const by of off.values()) if (by !== 0) return true;
  return false;
}

/** Does the step store without looking? */
function isStore(steps: History, step: number): boolean {
  return howMuch(steps, step) === 'stored';
}

function howMuch({ nodeAt }: History, step: number): 'nothing' | 'sign' | 'stored' | 'values' {
  return nodeAt[step]?.op?.def.learns ?? 'values';
}

/** The first value counts, and that it matters as a whole if it does for one step. */
function note(seen: Map<Cell, Seen>, it: Seen): void {
  const before = seen.get(it.cell);
  if (!before) seen.set(it.cell, it);
  else if (!it.sign && before.value !== it.value) seen.set(AT_ONCE.cell, AT_ONCE);
  else if (before.sign && !it.sign) seen.set(it.cell, { ...before, sign: false });
}

/**
 * Who waits inside a section that his rounds leave would hold up others whom the loop lets by in each round:
 * runs would be lost, and waits found that there are not.
 */
function refuseReopened(m: Machine, who: Actor, since: number): void {
  const { actorAt, nodeAt } = m.history as History;
  let inside = countedAgain(m, who, since);
  for (let step = since + 1; step < m.cells.depth && !inside; step++) {
    const op = actorAt[step] === who.index ? nodeAt[step]?.op : null;
    inside = op?.def.isBackIn?.(m, who, op.args) ?? null;
  }
  if (inside) {
    throw new GracewalkError('E132', `${who.name} would wait inside ${inside} to try again`, {
      notes: [`the round that it tries again has left ${inside}, and entered it anew`],
      help: 'let retry() begin a round where the section is not open, and open it in each',
    });
  }
}

/** Sections that are counted, and that the actor has been out of since that step and is in again. */
function countedAgain(m: Machine, { index, cpu }: Actor, since: number): string | null {
  const { cells } = m;
  const { actorAt } = m.history as History;
  const wasOut = (count: Cell): boolean => {
    let after = cells.peek(count);
    if (after === 0) return false;
    for (let at = cells.lastWrite[count] as number; at >= 0; at = cells.prevWrite[at] as number) {
      const step = cells.event[at] as number;
      if (step <= since) return false;
      after = cells.old[at] as number;
      if (after === 0 && actorAt[step] === index && startedInside(m, count, since)) return true;
    }
    return false;
  };
  if (wasOut(m.cellsOf(index).rcuNesting)) return 'an RCU read-side section';
  if (cpu >= 0 && wasOut(m.cpu(cpu).atomic)) return 'a region without preemption';
  return null;
}

/** Was the count above zero behind that step? */
function startedInside({ cells }: Machine, count: Cell, since: number): boolean {
  let before = cells.peek(count);
  for (let at = cells.lastWrite[count] as number; at >= 0; at = cells.prevWrite[at] as number) {
    if ((cells.event[at] as number) <= since) break;
    before = cells.old[at] as number;
  }
  return before > 0;
}

const endOp = defineOp('round_ends', {
  ordering: 'none',
  exec: (m, who, [depth]: [number]): readonly Seen[] => {
    const since = m.cells.peek(startOf(m, who, depth));
    const seen = learned(m, who, since);
    if (!isAtOnce(seen)) refuseReopened(m, who, since);
    return seen;
  },
  ghost: true,
});

function isAtOnce(seen: readonly Seen[]): boolean {
  return seen.includes(AT_ONCE);
}

/** Has any of it changed? Every cell is asked, because each of them can end the wait. */
function changed(read: Reader, seen: readonly Seen[]): boolean {
  let differs = false;
  for (const it of seen) {
    if (it.cell < 0) {
      if (it.cell === AT_ONCE.cell) differs = true;
    } else if (isChange(it, read.get(it.cell))) differs = true;
  }
  return differs;
}

/** Is this value news to the round? */
export function isChange({ value, sign }: Seen, now: number): boolean {
  return sign ? now > 0 !== value > 0 : now !== value;
}

const againOp = defineOp('try_again', {
  ordering: 'none',
  guard: (read, _m, _who, [seen]: [readonly Seen[], number]) => changed(read, seen),
  exec: (m, who, [, depth]) => {
    m.cells.poke(startOf(m, who, depth), m.cells.depth);
    return undefined;
  },
  waitsFor: (m, who, [seen]) => {
    const names = wordNames(m, who, seen);
    const last = names.length > NAMED + 1 ? names.slice(-NAMED) : names;
    const more = names.length - last.length;
    const words = more === 0 ? last : [...last, `and ${more} more`];
    return names.length === 0 ? 'any change' : `a change of ${words.join(', ')}`;
  },
  describe: () => ({ event: 'tries again' }),
});

/** A round of which nothing is left but the wait: the steps between which it lies, and what ends the wait. */
export interface WaitingRound {
  /** Its first step is the one behind this one. */
  readonly since: number;
  readonly seen: readonly Seen[];
}

/** The round that the step has ended, if that is what the step is, and somebody must change something now. */
export function roundEndedBy(steps: History, step: number): WaitingRound | null {
  const op = steps.nodeAt[step]?.op;
  if (op?.def !== endOp) return null;
  const seen = steps.valueAt[step] as readonly Seen[];
  if (isAtOnce(seen)) return null;
  const [depth] = op.args;
  for (let since = step - 1; since >= 0; since--) {
    const begun = steps.actorAt[since] === steps.actorAt[step] ? steps.nodeAt[since]?.op : null;
    const isBegin = begun?.def === beginOp && begun.args[0] === depth;
    if (isBegin || (begun?.def === againOp && begun.args[1] === depth)) return { since, seen };
  }
  return null;
}

/** Does anybody go round loops here? */
export function hasRounds(m: Machine): boolean {
  return m.objects.has('rounds');
}

/** Is this the step of somebody who goes round a loop and sees the same each time? */
export function isRetry(def: object): boolean {
  return def === againOp;
}

/**
 * Would he have to go the same way each time? Where a round has come to something that goes in several ways by
 * itself, another run has taken the other way: who waits in this one is no livelock.
 */
export function isByChance({ def, args }: Op): boolean {
  return (
    def === againOp && (args[0] as readonly Seen[]).some(({ cell }) => cell === BY_CHANCE.cell)
  );
}

/** So many words are named where people read it. What the round looked at last is what sent it back. */
const NAMED = 3;

/** All that a change of would end the wait of who goes round a loop; empty of others. */
export function retriedWords(m: Machine, who: Actor, { def, args }: Op): readonly string[] {
  return def === againOp ? wordNames(m, who, args[0] as readonly Seen[]) : [];
}

/** The named words among what a round has learned, as it looked at them last; before them reference counts. */
function wordNames(m: Machine, who: Actor, seen: readonly Seen[]): string[] {
  const found = new Map(seen.map((it) => [it.cell, it]));
  const rank = ({ cell, sign }: Seen): number => (sign ? -1 : lastLook(m, who, cell));
  return m.memory
    .everyWord()
    .flatMap(({ cell, name }) => {
      const it = found.get(cell);
      return it ? [{ name, rank: rank(it) }] : [];
    })
    .sort((a, b) => a.rank - b.rank)
    .map(({ name }) => name);
}

function lastLook({ cells, history }: Machine, who: Actor, cell: Cell): number {
  for (let at = cells.head[cell] as number; at >= 0; at = cells.prev[at] as number) {
    const step = cells.event[at] as number;
    if (history?.actorAt[step] === who.index) return step;
  }
  return -1;
}

/** Rounds one after the other each of which changes something. */
const AT_MOST = 8;
const NEVER_THE_SAME = 'each round of a loop changes something, so no round is like the last';

/** What a round returns that must be gone through again. */
export const AGAIN: unique symbol = Symbol('again');

/**
 * Goes through `round` until it returns something else than AGAIN. A round must leave nothing behind when it
 * is to be repeated: locks dropped, references put, read-side sections closed. A section may be open from before
 * the loop if no round leaves it (refuseReopened).
 */
export function* retry<T>(round: () => Steps<T | typeof AGAIN>): Steps<T> {
  const activation = currentActivation();
  const depth = activation ? ++activation.rounds : 0;
  try {
    yield* perform(beginOp, [depth]);
    for (let changes = 0; ;) {
      const result = yield* round();
      if (result !== AGAIN) return result;
      const seen = yield* perform(endOp, [depth]);
      changes = isAtOnce(seen) ? changes + 1 : 0;
      if (changes > AT_MOST) yield* perform(boundOp, [AT_MOST, NEVER_THE_SAME]);
      yield* perform(againOp, [seen, depth]);
    }
  } finally {
    if (activation) activation.rounds--;
  }
}
