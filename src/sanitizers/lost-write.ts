import type { Machine, Sanitizer } from '../machine/machine.ts';
import { lifeGeneration, type Entry, type Page, type Word } from '../machine/memory.ts';
import { indexAt } from '../machine/walk.ts';
import type { Cell } from '../machine/cells.ts';
import { claimAt, claimId, returnedClaims, type Claim } from './claims.ts';

/**
 * What is written to a page through a reference on it is written to the address at which the page was found:
 * that is what direct I/O and DMA rely on. It is lost
 *  - if the kernel throws the page's contents away as if nobody had written to it,
 *  - if the address shows another page in the end, without it, and
 *  - soon, if a pinned anonymous page has become one that is shared: the next write of its owner copies it.
 *
 * The first is judged by the steps themselves, the others in final states. An address that shows nothing in
 * the end is none of this: its owner may have unmapped it.
 */
interface PageCells {
  /** The generation in which somebody wrote through a reference; in which the contents were thrown away. */
  readonly written: Cell;
  readonly discarded: Cell;
}

function pageCells(machine: Machine, frame: number): PageCells {
  const key = `lost-write:${frame}`;
  let cells = machine.objects.get(key) as PageCells | undefined;
  if (!cells) {
    cells = { written: machine.cells.allocate(), discarded: machine.cells.allocate() };
    machine.objects.set(key, cells);
  }
  return cells;
}

/** Per word, a satellite: the claim (plus one) through which it was written last, 0 for any other store. */
function writers(machine: Machine): Map<Word, Cell> {
  let known = machine.objects.get('written words') as Map<Word, Cell> | undefined;
  if (!known) machine.objects.set('written words', (known = new Map()));
  return known;
}

export const lost_write: Sanitizer = {
  name: 'lost-write',

  dataStored(machine, who, word) {
    const claim = returnedClaims(machine, who.index).find(
      ({ page }) => page.frame === word.frame && page.generation === word.generation,
    );
    const known = writers(machine);
    let cell = known.get(word);
    if (cell === undefined) {
      if (!claim) return;
      known.set(word, (cell = machine.cells.allocate()));
    }
    machine.cells.poke(cell, claim ? claimId(machine, claim) + 1 : 0);
    if (!claim) return;
    const { written, discarded } = pageCells(machine, word.frame);
    if (machine.cells.get(written) !== word.generation) machine.cells.set(written, word.generation);
    if (machine.cells.get(discarded) !== word.generation) return;
    const { name } = machine.memory.info(word.frame);
    complain(
      machine,
      who.name,
      claim.page,
      `${who.name} writes to ${name}, whose contents are gone`,
    );
  },

  discarded(machine, who, page) {
    const { written, discarded } = pageCells(machine, page.frame);
    if (machine.cells.get(discarded) !== page.generation)
      machine.cells.set(discarded, page.generation);
    if (machine.cells.get(written) !== page.generation) return;
    const { name } = machine.memory.info(page.frame);
    complain(machine, who.name, page, `${who.name} throws away what was written to ${name}`);
  },

  quiescence(machine, results) {
    for (const [word, cell] of writers(machine)) {
      const id = machine.cells.peek(cell);
      if (id > 0) judgeWord(machine, word, claimAt(machine, id - 1));
    }
    for (const { actor, value } of results) {
      for (const claim of returnedClaims(machine, actor.index)) {
        if (claim.pin === true && isPage(value, claim.page)) judgePin(machine, actor.name, claim);
      }
    }
  },
};

function complain(machine: Machine, actor: string, { frame }: Page, what: string): void {
  const object = machine.memory.info(frame).name;
  machine.violate({ kind: 'lost-write', actor, object, message: `${what}.`, stops: false });
}

/** Does the address show what was written to it? */
function judgeWord(machine: Machine, word: Word, claim: Claim): void {
  const { memory } = machine;
  const shown = shownAt(machine, claim);
  if (!shown || (shown.entry.frame === word.frame && shown.entry.generation === word.generation)) {
    return;
  }
  // Of a page that is a part of a huge one by now, one word is modelled: see khugepaged.ts.
  const index =
    shown.level > 0 ? indexAt(machine.arch, 0, claim.address) : (word.address % 4096) >> 3;
  const { frame, generation } = shown.entry;
  const now = memory.peekWide(memory.resolve({ frame, generation, index })).bits;
  if (now === memory.peekWide(word).bits) return;
  const [old, other] = [memory.info(word.frame).name, memory.info(frame).name];
  const at = `0x${claim.address.toString(16)}`;
  complain(
    machine,
    'everyone',
    claim.page,
    `What was written to ${old} is lost: ${at} shows ${other}`,
  );
}

interface Shown {
  readonly level: number;
  readonly entry: Entry;
}

/** What the address of the claim maps in the end. */
function shownAt(machine: Machine, { root, address }: Claim): Shown | null {
  const { arch, cells, memory } = machine;
  let table = root;
  for (let level = arch.levels.length - 1; level >= 0; level--) {
    const generation = lifeGeneration(cells.peek(memory.info(table).life));
    const index = indexAt(arch, level, address);
    const entry = memory.peekWide(memory.resolve({ frame: table, generation, index }));
    if (!entry.present) return null;
    if (!entry.table) return { level, entry };
    table = entry.frame;
  }
  return null;
}

/** Is this what the actor returned? */
function isPage(value: unknown, { frame, generation }: Page): boolean {
  const page = value as Partial<Page> | null | undefined;
  return page?.frame === frame && page.generation === generation;
}

const ANON = 1;

/** A page that is still pinned must still be its owner's alone. */
function judgePin(machine: Machine, actor: string, { page }: Claim): void {
  const { fields, life, name } = machine.memory.info(page.frame);
  const { cells } = machine;
  if (lifeGeneration(cells.peek(life)) !== page.generation) return;
  const isAnon = (cells.peek(fields.mapping.cell) & ANON) !== 0;
  if (!isAnon || cells.peek(fields.PG_anon_exclusive.cell) === 1) return;
  complain(machine, actor, page, `${name} is pinned by ${actor} and shared nevertheless`);
}
