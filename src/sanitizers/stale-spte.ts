import type { Machine, Sanitizer } from '../machine/machine.ts';
import { FREE, lifeGeneration, lifeState } from '../machine/memory.ts';
import { secondStageEntries, type Found } from '../machine/second-stages.ts';

/**
 * No entry of a hypervisor's tables may lead to a frame that is not what it was (S1 of the specification: none can
 * be created from what was known before the free). stale-translation.ts sees such an entry when a guest can use it;
 * this one also if no guest is entered any more.
 *
 * Judged when a frame is freed, and in final states: an entry may have been made after the free.
 */
export const stale_spte: Sanitizer = {
  name: 'stale-spte',

  free(machine, who, frame, generation) {
    if (machine.levelOf(frame) >= 0) return true; // a table: who walks it complains
    const { cells, memory } = machine;
    const read = memory.loadWide.bind(memory);
    for (const [word, entry] of secondStageEntries(machine, read, (cell) => cells.get(cell))) {
      if (entry.frame !== frame || entry.generation !== generation) continue;
      complain(machine, who.name, [word, entry], 'is freed while');
    }
    return true;
  },

  quiescence(machine) {
    const { cells, memory } = machine;
    const read = memory.peekWide.bind(memory);
    for (const [word, entry] of secondStageEntries(machine, read, (cell) => cells.peek(cell))) {
      const life = cells.peek(memory.info(entry.frame).life);
      if (lifeState(life) !== FREE && lifeGeneration(life) === entry.generation) continue;
      complain(machine, 'everyone', [word, entry], 'is gone, and');
    }
  },
};

function complain(machine: Machine, actor: string, [word, entry]: Found, how: string): void {
  const { name } = machine.memory.info(entry.frame);
  const what = entry.table ? 'leads to' : 'maps';
  machine.violate({
    kind: 'stale-translation',
    actor,
    object: name,
    message: `${name} ${how} ${word.name} ${what} it.`,
    stops: false,
  });
}
