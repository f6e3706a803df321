import { TORN } from '../machine/halves.ts';
import type { Machine, Sanitizer } from '../machine/machine.ts';
import type { Page } from '../machine/memory.ts';
import type { MappingClaim } from '../machine/ops/pages.ts';
import { walk } from '../machine/walk.ts';
import type { Cell } from '../machine/cells.ts';

/**
 * Identity (I2 of the specification): a lockless lookup that returns a page asserts that there was an
 * instant, after it had taken its reference, at which the walked path mapped exactly that page.
 *
 * An interval predicate: the path is sampled when the reference is taken; if it does not map the page then,
 * every later store to a page table samples it again until it does or the lookup ends. Sampling reads the
 * path through the recording view, which makes the stores to it mutually dependent while the interval is
 * open: the intermediate states are then told apart by the reduction too.
 */
interface Interval {
  /** 1 while a claim is open and was not yet true; stores to tables look at it. */
  readonly open: Cell;
  /** Satellite: whether the claim was true at some instant, and (interned) what it says. */
  readonly seen: Cell;
  readonly what: Cell;
}

interface Claim extends MappingClaim {
  readonly page: Page;
}

function interval(machine: Machine, actor: number): Interval {
  const key = `claim:${actor}`;
  let cells = machine.objects.get(key) as Interval | undefined;
  if (!cells) {
    const { cells: store } = machine;
    cells = { open: store.allocate(), seen: store.allocate(), what: store.allocate() };
    machine.objects.set(key, cells);
  }
  return cells;
}

function claims(machine: Machine): Claim[] {
  let list = machine.objects.get('claims') as Claim[] | undefined;
  if (!list) machine.objects.set('claims', (list = []));
  return list;
}

function claimId(machine: Machine, claim: Claim): number {
  const list = claims(machine);
  const same = (other: Claim): boolean =>
    other.page.frame === claim.page.frame &&
    other.page.generation === claim.page.generation &&
    other.root === claim.root &&
    other.address === claim.address;
  const known = list.findIndex(same);
  return known >= 0 ? known : list.push(claim) - 1;
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

  entryStored(machine) {
    for (const actor of machine.actors) {
      if (actor.kind !== 'task' && actor.kind !== 'irq') continue;
      const { open, seen, what } = interval(machine, actor.index);
      if (machine.cells.get(open) === 0) continue;
      const claim = claims(machine)[machine.cells.peek(what)] as Claim;
      if (!holds(machine, claim)) continue;
      machine.cells.poke(seen, 1);
      machine.cells.set(open, 0);
    }
  },

  settle(machine, who, page) {
    const { open, seen } = interval(machine, who.index);
    if (machine.cells.get(open) === 1) machine.cells.set(open, 0);
    if (!page || machine.cells.peek(seen) === 1) return;
    const { name } = machine.memory.info(page.frame);
    machine.violate({
      kind: 'wrong-page',
      actor: who.name,
      object: name,
      message: `${who.name} returns ${name}, which was not mapped there at any instant after the reference was taken.`,
      stops: false,
    });
  },
};
