import { READ, UPDATE, type Cell, type Reader } from '../machine/cells.ts';
import type { History } from '../machine/machine.ts';
import {
  hasRounds,
  isChange,
  isRetry,
  roundEndedBy,
  type WaitingRound,
} from '../machine/ops/retry.ts';
import type { Run } from './run.ts';

/**
 * What a run does not show of loops that start again (machine/ops/retry.ts).
 *
 * Who leaves everything as he found it waits, where in fact he goes round and round. That loses nothing, because
 * the run without such a round is tried as well; unless somebody has seen the round: a trylock that came while it
 * held the lock. Then there is no run without it, and none in which another round begins before what ends the
 * wait. Of what such a round might meet nothing is known, and the run counts as one that came to a loop's bound.
 * So does a run that is stuck because somebody waits for what every round says for a moment.
 *
 * What a step happens before is the same in all runs of a class, so this is a property of the class.
 */
export interface Glimpse {
  /** The step that looked, or the last one of the run. */
  readonly step: number;
  readonly message: string;
}

/** One access, with what the cell says before and behind it. */
interface Access {
  readonly step: number;
  readonly cell: Cell;
  readonly kind: number;
  readonly before: number;
  readonly after: number;
}

/** A word that a round changes for a moment, and how far off it is meanwhile. */
interface Undone {
  readonly name: string;
  readonly off: readonly number[];
}

/** `stuck`: the run ends because nobody can go on. */
export function glimpseIn(run: Run, stuck: boolean): Glimpse | null {
  const { machine } = run;
  if (!hasRounds(machine)) return null;
  const steps = machine.history as History;
  let accesses: Access[] | null = null;
  for (let end = 0; end < run.depth; end++) {
    const round = roundEndedBy(steps, end);
    if (!round) continue;
    accesses ??= accessesOf(run);
    const undone = undoneBy(run, accesses, round, end);
    if (undone.size === 0) continue;
    const glimpse = stuck
      ? awaited(run, end, undone)
      : glimpseOf(run, accesses, round, end, undone);
    if (glimpse) return glimpse;
  }
  return null;
}

function accessesOf(run: Run): Access[] {
  const { cells } = run.machine;
  const list: Access[] = [];
  const next = new Map<Cell, number>();
  for (let at = cells.top - 1; at >= 0; at--) {
    const cell = cells.cell[at] as Cell;
    const kind = cells.kind[at] as number;
    const after = next.get(cell) ?? cells.peek(cell);
    const before = kind === READ ? after : (cells.old[at] as number);
    list[at] = { step: cells.event[at] as number, cell, kind, before, after };
    next.set(cell, before);
  }
  return list;
}

/** The words that the round changes for a moment, as its actor sees them. */
function undoneBy(
  run: Run,
  accesses: readonly Access[],
  { since }: WaitingRound,
  end: number,
): Map<Cell, Undone> {
  const { actorAt, startAt, machine } = run;
  const who = machine.actor(actorAt[end] as number);
  const own: { readonly step: number; readonly cell: Cell; readonly by: number }[] = [];
  for (let at = startAt[since + 1] as number; at < (startAt[end] as number); at++) {
    const { step, cell, kind, before, after } = accesses[at] as Access;
    if (actorAt[step] === who.index && kind !== READ) own.push({ step, cell, by: after - before });
  }
  for (const { step, cell, value, before } of machine.buffers?.storedSince(who, since) ?? []) {
    const isNumber = typeof value === 'number' && typeof before === 'number';
    if (step < end && isNumber) own.push({ step, cell, by: value - before });
  }
  own.sort((one, other) => one.step - other.step);
  const off = new Map<Cell, number[]>();
  for (const { cell, by } of own) {
    const all = off.get(cell) ?? [];
    off.set(cell, [...all, (all.at(-1) ?? 0) + by]);
  }
  const undone = new Map<Cell, Undone>();
  for (const { cell, name } of machine.memory.everyWord()) {
    const meanwhile = (off.get(cell) ?? []).filter((by) => by !== 0);
    if (meanwhile.length > 0) undone.set(cell, { name, off: meanwhile });
  }
  return undone;
}

/** A step that has met the round, though nothing that ends the wait had happened by then. */
function glimpseOf(
  run: Run,
  accesses: readonly Access[],
  round: WaitingRound,
  end: number,
  undone: ReadonlyMap<Cell, Undone>,
): Glimpse | null {
  const { actorAt, startAt, machine } = run;
  const who = machine.actor(actorAt[end] as number);
  const flusher = machine.buffers?.flusherOf(who);
  const off = new Map<Cell, number>();
  for (let at = startAt[round.since + 1] as number; at < accesses.length; at++) {
    const { step, cell, kind, before, after } = accesses[at] as Access;
    const word = undone.get(cell);
    if (!word) continue;
    const by = off.get(cell) ?? 0;
    const actor = actorAt[step] as number;
    if (actor === who.index || actor === flusher) {
      if (kind !== READ) off.set(cell, by + after - before);
      continue;
    }
    if (by === 0 || kind === UPDATE || !isTold(run, step, before, before - by)) continue;
    if (hadEndedTheWait(run, accesses, round, who.index, step)) continue;
    const other = machine.actor(actor).name;
    return {
      step,
      message: `${who.name} changes ${word.name} for a moment in each round of a loop, and ${other} has seen that: what the next round would have met was not tried`,
    };
  }
  return null;
}

/** Would the step have been told something else without the round? Who waits for a lock is let in later. */
function isTold({ machine }: Run, step: number, found: number, without: number): boolean {
  const { actorAt, nodeAt, valueAt } = machine.history as History;
  const op = nodeAt[step]?.op;
  if (!op || valueAt[step] === undefined || op.def.learns === 'nothing') return false;
  if (machine.actor(actorAt[step] as number).kind === 'buffer') return false;
  return op.def.tells ? op.def.tells(op.args, found) !== op.def.tells(op.args, without) : true;
}

/** Does the look come of something that ends the wait? Then the next round begins behind it in any case. */
function hadEndedTheWait(
  run: Run,
  accesses: readonly Access[],
  { since, seen }: WaitingRound,
  who: number,
  look: number,
): boolean {
  const { actorAt, startAt } = run;
  const learned = new Map(seen.map((it) => [it.cell, it]));
  for (let at = startAt[since + 1] as number; at < (startAt[look] as number); at++) {
    const { step, cell, kind, after } = accesses[at] as Access;
    const it = learned.get(cell);
    if (!it || kind === READ || actorAt[step] === who || !isChange(it, after)) continue;
    if (isBehind(run, accesses, step, look)) return true;
  }
  return false;
}

/** Does `first` happen before `last`? */
function isBehind(run: Run, accesses: readonly Access[], first: number, last: number): boolean {
  const { actorAt, startAt } = run;
  const actors = new Set<number>();
  const [read, written] = [new Set<Cell>(), new Set<Cell>()];
  for (let step = first; step <= last; step++) {
    const actor = actorAt[step] as number;
    const own = accesses.slice(startAt[step], run.endOf(step));
    const depends = ({ cell, kind }: Access): boolean =>
      written.has(cell) || (kind !== READ && read.has(cell));
    if (step > first && !actors.has(actor) && !own.some(depends)) continue;
    if (step === last) return true;
    actors.add(actor);
    for (const { cell, kind } of own) (kind === READ ? read : written).add(cell);
  }
  return false;
}

/** Somebody who is stuck, and waits for what the round says for a moment. */
function awaited(run: Run, end: number, undone: ReadonlyMap<Cell, Undone>): Glimpse | null {
  const { machine, now } = run;
  const who = machine.actor(run.actorAt[end] as number);
  for (const index of run.order) {
    const op = run.nodes[index]?.op;
    if (!op?.def.guard || index === who.index || !run.isAlive(index) || isRetry(op.def)) continue;
    const waits = machine.actor(index);
    if (waits.daemon) continue;
    for (const [cell, { name, off }] of undone) {
      const met = off.some((by) => {
        const read: Reader = { get: (asked) => now.get(asked) + (asked === cell ? by : 0) };
        return op.def.guard?.(read, machine, waits, op.args);
      });
      if (!met) continue;
      return {
        step: run.depth - 1,
        message: `${waits.name} waits for what ${who.name} makes of ${name} for a moment in each round of a loop: that a further round ends the wait was not tried`,
      };
    }
  }
  return null;
}
