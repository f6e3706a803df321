import type { Actor } from '../machine/actor.ts';
import type { Cell } from '../machine/cells.ts';
import { MAX_ACTORS, type Machine, type Sanitizer } from '../machine/machine.ts';

/**
 * Dirty marks of hardware (M8.1 of the specification): hardware sets them by itself, at any moment, as long as
 * an entry is present. Whoever stores over such an entry without the mark must know about it, by having read
 * the entry since; an exchange, which returns what it replaces, always does.
 */
interface Mark {
  /** Satellites of the entry: 1 after hardware has set the mark; who has read the entry since, 32 actors each. */
  readonly set: Cell;
  readonly known: readonly Cell[];
}

function marks(machine: Machine): Map<number, Mark> {
  let known = machine.objects.get('hardware marks') as Map<number, Mark> | undefined;
  if (!known) machine.objects.set('hardware marks', (known = new Map()));
  return known;
}

/** Where a mark keeps whether `who` knows of it. A shift takes its distance modulo 32. */
function knownBy({ known }: Mark, { index }: Actor): readonly [cell: Cell, bit: number] {
  return [known[index >> 5] as Cell, 1 << index];
}

export const lost_dirty: Sanitizer = {
  name: 'lost-dirty',

  hardwareMarked(machine, { address }, before, after) {
    if (before.dirty === true || after.dirty !== true) return; // an accessed mark: nobody has to know
    const { cells } = machine;
    const all = marks(machine);
    let mark = all.get(address);
    if (!mark) {
      const known = Array.from({ length: MAX_ACTORS / 32 }, () => cells.allocate());
      all.set(address, (mark = { set: cells.allocate(), known }));
    }
    cells.poke(mark.set, 1);
    for (const cell of mark.known) cells.poke(cell, 0);
  },

  entryRead(machine, who, { address }) {
    const mark = marks(machine).get(address);
    if (!mark || machine.cells.peek(mark.set) === 0) return;
    const [cell, bit] = knownBy(mark, who);
    machine.cells.poke(cell, machine.cells.peek(cell) | bit);
  },

  entryReplaced(machine, who, { address, name }, before, after) {
    const mark = marks(machine).get(address);
    if (!mark || machine.cells.peek(mark.set) === 0) return;
    const [cell, bit] = knownBy(mark, who);
    const isKnown = (machine.cells.peek(cell) & bit) !== 0;
    if (after.dirty !== true) machine.cells.poke(mark.set, 0);
    if (isKnown || before.dirty !== true || after.dirty === true) return;
    const page = machine.memory.info(before.frame).name;
    machine.violate({
      kind: 'lost-dirty',
      actor: who.name,
      object: name,
      message: `${who.name} stores over ${name}, in which hardware has set the dirty mark of ${page} meanwhile.`,
      stops: false,
    });
  },
};
