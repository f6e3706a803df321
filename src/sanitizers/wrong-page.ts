import { TORN } from '../machine/halves.ts';
import type { Machine, Sanitizer } from '../machine/machine.ts';
import { walk } from '../machine/walk.ts';
import type { Cell } from '../machine/cells.ts';
import { claimAt, claimId, returnClaim, type Claim } from './claims.ts';

/**
 * Identity (I2 of the specification): a lockless lookup that returns a page asserts that there was an
 * instant, after it had taken its reference, at which the walked path mapped exactly that page.
 *
 * An interval predicate: the path is sampled when the reference is taken; if it does not map the page then,
 * every later store to a page table samples it again until it does or the lookup ends. Sampling reads the
 * path through the recording view, which makes the stores to it mutually dependent while the interval is
 * open: the intermediate states are then told apart by the reduction too.
 *
 * An entry may be cleared only for a while, by somebody who puts it back if he finds that the page has been
 * given away meanwhile (khugepaged). What a lookup returns then is judged when the entry is stored again.
 */
interface Interval {
  /** 1 while a claim is open and was not yet true; stores to tables look at it. */
  readonly open: Cell;
  /** Satellite: whether the claim was true at some instant, and (interned) what it says. */
  readonly seen: Cell;
  readonly what: Cell;
  /** The claim (plus one) of a lookup that has returned and waits for the suspended entry. */
  readonly waiting: Cell;
}

function interval(machine: Machine, actor: number): Interval {
  const key = `claim:${actor}`;
  let cells = machine.objects.get(key) as Interval | undefined;
  if (!cells) {
    const { cells: store } = machine;
    const [open, seen, what, waiting] = [0, 0, 0, 0].map((value) => store.allocate(value));
    cells = { open, seen, what, waiting } as Interval;
    machine.objects.set(key, cells);
  }
  return cells;
}

/** Holds the address of the suspended entry; 0 if there is none. */
function suspendedCell(machine: Machine): Cell {
  let cell = machine.objects.get('suspended entry') as Cell | undefined;
  if (cell === undefined) machine.objects.set('suspended entry', (cell = machine.cells.allocate()));
  return cell;
}

/** Does the path from the claim's root map its page at this moment? */
function holds(machine: Machine, claim: Claim): boolean {
  for (const { entry } of walk(machine, claim.root, claim.address)) {
    if (!entry.present || entry.table) continue;
    const { frame, generation } = claim.page;
    return entry.frame === frame && (entry.generation === generation || generation === TORN);
  }
  return false;
}

/** Is it the suspended entry that the claim's path ends at? */
function endsAt(machine: Machine, claim: Claim, suspended: number): boolean {
  return [...walk(machine, claim.root, claim.address)].at(-1)?.word.address === suspended;
}

function complain(machine: Machine, actor: string, { page }: Claim): void {
  const { name } = machine.memory.info(page.frame);
  machine.violate({
    kind: 'wrong-page',
    actor,
    object: name,
    message: `${actor} returns ${name}, which was not mapped there at any instant after the reference was taken.`,
    stops: false,
  });
}

export const wrong_page: Sanitizer = {
  name: 'wrong-page',

  claim(machine, who, page, claim) {
    const full: Claim = { ...claim, page };
    const { open, seen, what } = interval(machine, who.index);
    const now = holds(machine, full);
    machine.cells.poke(what, claimId(machine, full));
    machine.cells.poke(seen, now ? 1 : 0);
    const opening = now ? 0 : 1; // usually it stays closed, and then stores elsewhere need not know
    if (machine.cells.get(open) !== opening) machine.cells.set(open, opening);
  },

  suspended(machine, _who, address) {
    machine.cells.set(suspendedCell(machine), address);
  },

  entryStored(machine, _who, address) {
    const { cells } = machine;
    const suspended = suspendedCell(machine);
    const returns =
      cells.get(suspended) === address &&
      machine.memory.peekWide(machine.memory.at(address, 0)).present;
    if (returns) cells.set(suspended, 0);
    for (const actor of machine.actors) {
      if (actor.kind !== 'task' && actor.kind !== 'irq') continue;
      const { open, seen, what, waiting } = interval(machine, actor.index);
      if (returns && cells.get(waiting) > 0) {
        const claim = claimAt(machine, cells.get(waiting) - 1);
        cells.set(waiting, 0);
        if (!holds(machine, claim)) complain(machine, actor.name, claim);
      }
      if (cells.get(open) === 0) continue;
      const claim = claimAt(machine, cells.peek(what));
      if (!holds(machine, claim)) continue;
      cells.poke(seen, 1);
      cells.set(open, 0);
    }
  },

  settle(machine, who, page) {
    const { cells } = machine;
    const { open, seen, what, waiting } = interval(machine, who.index);
    if (cells.get(open) === 1) cells.set(open, 0);
    if (!page) return undefined;
    returnClaim(machine, who.index, cells.peek(what));
    const claim = claimAt(machine, cells.peek(what));
    if (cells.peek(seen) === 1) return claim.page;
    const suspended = cells.get(suspendedCell(machine));
    if (suspended > 0 && cells.get(waiting) === 0 && endsAt(machine, claim, suspended)) {
      cells.set(waiting, cells.peek(what) + 1);
    } else {
      complain(machine, who.name, claim);
    }
    return undefined;
  },

  quiescence(machine, results) {
    for (const { actor } of results) {
      const waiting = machine.cells.peek(interval(machine, actor.index).waiting);
      if (waiting > 0) complain(machine, actor.name, claimAt(machine, waiting - 1));
    }
  },
};
