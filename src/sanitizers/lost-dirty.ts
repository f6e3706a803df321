import type { Cell } from '../machine/cells.ts';
import type { Machine, Sanitizer } from '../machine/machine.ts';

/**
 * Dirty marks of hardware (M8.1 of the specification): hardware sets them by itself, at any moment, as long as
 * an entry is present. Whoever stores over such an entry without the mark must know about it, by having read
 * the entry since; an exchange, which returns what it replaces, always does.
 */
interface Mark {
  /** Satellites of the entry: 1 after hardware has set the mark; who has read the entry since, a bit each. */
  readonly set: Cell;
  readonly known: Cell;
}

function marks(machine: Machine): Map<number, Mark> {
  let known = machine.objects.get('hardware marks') as Map<number, Mark> | undefined;
  if (!known) machine.objects.set('hardware marks', (known = new Map()));
  return known;
}

export const lost_dirty: Sanitizer = {
  name: 'lost-dirty',

  hardwareMarked(machine, { address }) {
    const { cells } = machine;
    const all = marks(machine);
    let mark = all.get(address);
    if (!mark) all.set(address, (mark = { set: cells.allocate(), known: cells.allocate() }));
    cells.poke(mark.set, 1);
    cells.poke(mark.known, 0);
  },

  entryRead(machine, who, { address }) {
    const mark = marks(machine).get(address);
    if (!mark || machine.cells.peek(mark.set) === 0) return;
    machine.cells.poke(mark.known, machine.cells.peek(mark.known) | (1 << who.index));
  },

  entryReplaced(machine, who, { address, name }, before, after) {
    const mark = marks(machine).get(address);
    if (!mark || machine.cells.peek(mark.set) === 0) return;
    const isKnown = (machine.cells.peek(mark.known) & (1 << who.index)) !== 0;
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
