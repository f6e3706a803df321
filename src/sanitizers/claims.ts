import type { Machine } from '../machine/machine.ts';
import type { Page } from '../machine/memory.ts';
import type { MappingClaim } from '../machine/ops/pages.ts';
import { Interner, type Cell } from '../machine/cells.ts';

/** What lockless lookups have claimed: by number, so that a cell can hold it. */
export interface Claim extends MappingClaim {
  readonly page: Page;
}

interface Claims {
  readonly list: Interner<Claim>;
  readonly sets: Interner<readonly number[]>;
  /** Per actor, a satellite: the set of claims that ended with the page being returned. */
  readonly returned: Map<number, Cell>;
}

function claimsOf(machine: Machine): Claims {
  let known = machine.objects.get('claims') as Claims | undefined;
  if (!known) {
    const text = ({ page, root, address, pin }: Claim): string =>
      [page.frame, page.generation, root, address, pin === true].join('/');
    known = {
      list: new Interner(text),
      sets: new Interner((set) => set.join()),
      returned: new Map(),
    };
    known.sets.id([]); // what a new cell says
    machine.objects.set('claims', known);
  }
  return known;
}

export function claimId(machine: Machine, claim: Claim): number {
  return claimsOf(machine).list.id(claim);
}

export function claimAt(machine: Machine, id: number): Claim {
  return claimsOf(machine).list.at(id);
}

/** The lookups of an actor that returned a page so far. */
export function returnedClaims(machine: Machine, actor: number): readonly Claim[] {
  const { returned, sets } = claimsOf(machine);
  const cell = returned.get(actor);
  return cell === undefined
    ? []
    : sets.at(machine.cells.peek(cell)).map((id) => claimAt(machine, id));
}

/** A lookup of the actor returns the page that it claimed. */
export function returnClaim(machine: Machine, actor: number, id: number): void {
  const { returned, sets } = claimsOf(machine);
  let cell = returned.get(actor);
  if (cell === undefined) returned.set(actor, (cell = machine.cells.allocate()));
  const before = sets.at(machine.cells.peek(cell));
  if (!before.includes(id)) machine.cells.poke(cell, sets.id([...before, id]));
}
