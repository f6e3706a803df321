import type { Machine, Sanitizer } from '../machine/machine.ts';
import { PAGE_SIZE, lifeGeneration, type Word } from '../machine/memory.ts';
import { lastStores } from '../machine/user-stores.ts';
import { indexAt } from '../machine/walk.ts';

/**
 * Stores of user code (P4 of the specification), at addresses that a scenario says nobody unmaps: in the end
 * the address shows what was stored there last. A store that was done to a page which is mapped there no more
 * is lost.
 */
export const lost_store: Sanitizer = {
  name: 'lost-store',

  userStored(machine, _who, { root, address, bits }) {
    const last = lastStores(machine).get(`${root}/${address}`);
    if (last) machine.memory.storeWide(last.word, machine.memory.entry(bits, 1));
  },

  quiescence(machine) {
    for (const { word, root, address } of lastStores(machine).values()) {
      const { bits, generation } = machine.memory.peekWide(word);
      if (generation === 0) continue; // nobody has stored
      const shown = shownAt(machine, root, address);
      if (!shown || machine.memory.peekWide(shown).bits === bits) continue;
      machine.violate({
        kind: 'lost-write',
        actor: 'everyone',
        object: machine.memory.info(shown.frame).name,
        message: `0x${address.toString(16)} shows ${machine.memory.info(shown.frame).name}, which does not say what was stored there last.`,
        stops: false,
      });
    }
  },
};

/** The word that a walk to the address ends at, in a final state; null: nothing is mapped there. */
function shownAt({ arch, cells, memory }: Machine, root: number, address: number): Word | null {
  const word = (frame: number, offset: number): Word =>
    memory.at(frame * PAGE_SIZE + offset, lifeGeneration(cells.peek(memory.info(frame).life)));
  let table = root;
  for (let level = arch.levels.length - 1; level >= 0; level--) {
    const {
      present,
      table: isTable,
      frame,
    } = memory.peekWide(word(table, indexAt(arch, level, address) * 8));
    if (!present) return null;
    if (!isTable) return word(frame, (address % PAGE_SIZE) - (address % 8));
    table = frame;
  }
  return null;
}
