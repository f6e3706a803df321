import type { Actor } from './actor.ts';
import { Interner, type Cell } from './cells.ts';
import type { Machine } from './machine.ts';
import type { Word } from './memory.ts';

/** Address spaces whose entries others have copies of, and what has been announced to those. */

/** An address space somebody may subscribe to. */
export interface Watched {
  readonly name: string;
  /** Frame of its top-level table. */
  readonly root: number;
  /** Addresses at which it may map something. */
  readonly mapped: readonly number[];
  /** Heads of the lists of its subscribers: 0 is an empty list. */
  readonly subscribers: readonly Word[];
}

/** Addresses of an address space, [start, end). */
export interface Announced {
  readonly root: number;
  readonly start: number;
  readonly end: number;
}

/** By root. */
export function watched(machine: Machine): Map<number, Watched> {
  let known = machine.objects.get('watched roots') as Map<number, Watched> | undefined;
  if (!known) machine.objects.set('watched roots', (known = new Map()));
  return known;
}

interface Announcements {
  readonly lists: Interner<readonly Announced[]>;
  /** By actor: which list is his. Nobody else looks at it, so it orders nothing. */
  readonly own: Map<number, Cell>;
}

function announcements(machine: Machine): Announcements {
  const known = machine.objects.get('announcements') as Announcements | undefined;
  if (known) return known;
  const lists: Announcements['lists'] = new Interner((all) => JSON.stringify(all));
  lists.id([]);
  const made = { lists, own: new Map() };
  machine.objects.set('announcements', made);
  return made;
}

function cellOf(machine: Machine, { index }: Actor): Cell {
  const { own } = announcements(machine);
  let cell = own.get(index);
  if (cell === undefined) own.set(index, (cell = machine.cells.allocate()));
  return cell;
}

/** What `who` has announced and not ended. */
export function announcedBy(machine: Machine, who: Actor): readonly Announced[] {
  return announcements(machine).lists.at(machine.cells.get(cellOf(machine, who)));
}

/** What `who` has announced from now on. */
export function setAnnounced(machine: Machine, who: Actor, all: readonly Announced[]): void {
  machine.cells.set(cellOf(machine, who), announcements(machine).lists.id(all));
}
