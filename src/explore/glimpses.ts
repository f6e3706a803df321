import { READ, UPDATE, type Cell } from '../machine/cells.ts';
import type { History } from '../machine/machine.ts';
import { hasRounds, isChange, roundEndedBy, type WaitingRound } from '../machine/ops/retry.ts';
import type { Run } from './run.ts';

/**
 * What a run does not show of loops that start again (machine/ops/retry.ts).
 *
 * Who learns nothing new waits, where in fact he goes round and round. What his rounds leave as it was can be
 * looked at in between all the same: a trylock fails if it comes while a round holds the lock. In the rounds
 * that are tried every such meeting is tried too. But if somebody looks while the loop waits, and what ends the
 * wait happens only because of that, no round is tried that could meet him: nothing is known about it, and the run
 * counts as one that came to a loop's bound.
 *
 * What a step happens before is the same in all runs of a class, so this is a property of the class.
 */
export interface Glimpse {
  /** The step that looked. */
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

export function glimpseIn(run: Run): Glimpse | null {
  const { machine } = run;
  if (!hasRounds(machine)) return null;
  const steps = machine.history as History;
  let accesses: Access[] | null = null;
  for (let end = 0; end < run.depth; end++) {
    const round = roundEndedBy(steps, end);
    if (!round) continue;
    accesses ??= accessesOf(run);
    const glimpse = glimpseOf(run, accesses, round, end);
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

function glimpseOf(
  run: Run,
  accesses: readonly Access[],
  round: WaitingRound,
  end: number,
): Glimpse | null {
  const { actorAt, startAt, machine } = run;
  const who = actorAt[end] as number;
  const passing = undoneBy(run, accesses, round, end);
  if (passing.size === 0) return null;
  for (let at = startAt[end] as number; at < accesses.length; at++) {
    const { step, cell, kind, before } = accesses[at] as Access;
    if (step > end && actorAt[step] === who) return null; // he goes on
    const undone = kind === UPDATE ? undefined : passing.get(cell);
    if (!undone || !isTold(run, step, before, undone)) continue;
    if (wouldEndTheWait(run, accesses, round, step)) continue;
    const other = machine.actor(actorAt[step] as number).name;
    const { name } = undone;
    return {
      step,
      message: `${machine.actor(who).name} changes ${name} for a moment in each round of a loop, and ${other} looks at it: whether a further round would have met ${other} was not tried`,
    };
  }
  return null;
}

/** A word that the round changes for a moment, and how far it is off then from what the round leaves there. */
interface Undone {
  readonly name: string;
  readonly off: readonly number[];
}

function undoneBy(
  run: Run,
  accesses: readonly Access[],
  { since }: WaitingRound,
  end: number,
): Map<Cell, Undone> {
  const { actorAt, startAt, machine } = run;
  const values = new Map<Cell, readonly number[]>();
  for (let at = startAt[since + 1] as number; at < (startAt[end] as number); at++) {
    const { step, cell, kind, after } = accesses[at] as Access;
    if (actorAt[step] !== actorAt[end] || kind === READ) continue;
    values.set(cell, [...(values.get(cell) ?? []), after]);
  }
  const undone = new Map<Cell, Undone>();
  for (const { cell, name } of machine.memory.everyWord()) {
    const own = values.get(cell) ?? [];
    const off = own.map((value) => value - (own.at(-1) as number)).filter((by) => by !== 0);
    if (off.length > 0) undone.set(cell, { name, off });
  }
  return undone;
}

/** Would the step have been told something else? Who only waits for a lock is let in later, and knows nothing. */
function isTold({ machine }: Run, step: number, found: number, { off }: Undone): boolean {
  const { nodeAt, valueAt } = machine.history as History;
  const op = nodeAt[step]?.op;
  if (!op || valueAt[step] === undefined || op.def.learns === 'nothing') return false;
  const tells = (value: number): unknown => (op.def.tells ? op.def.tells(op.args, value) : value);
  return off.some((by) => tells(found + by) !== tells(found));
}

/** Has anything ended the wait that is not there because of the look? Then a round is tried that comes before it. */
function wouldEndTheWait(
  run: Run,
  accesses: readonly Access[],
  { since, seen }: WaitingRound,
  look: number,
): boolean {
  const { actorAt, startAt } = run;
  const learned = new Map(seen.map((it) => [it.cell, it]));
  const behind = stepsBehind(run, accesses, look);
  for (let at = startAt[since + 1] as number; at < accesses.length; at++) {
    const { step, cell, kind, after } = accesses[at] as Access;
    const it = learned.get(cell);
    if (!it || kind === READ || behind.has(step) || !isChange(it, after)) continue;
    if (actorAt[step] !== actorAt[since]) return true;
  }
  return false;
}

/** The steps that `first` happens before, and itself. */
function stepsBehind(run: Run, accesses: readonly Access[], first: number): ReadonlySet<number> {
  const { actorAt, startAt, depth } = run;
  const behind = new Set<number>();
  const actors = new Set<number>();
  const [read, written] = [new Set<Cell>(), new Set<Cell>()];
  for (let step = first; step < depth; step++) {
    const actor = actorAt[step] as number;
    const own = accesses.slice(startAt[step], run.endOf(step));
    const depends = ({ cell, kind }: Access): boolean =>
      written.has(cell) || (kind !== READ && read.has(cell));
    if (step > first && !actors.has(actor) && !own.some(depends)) continue;
    behind.add(step);
    actors.add(actor);
    for (const { cell, kind } of own) (kind === READ ? read : written).add(cell);
  }
  return behind;
}
