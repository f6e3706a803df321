import { TORN } from '../machine/halves.ts';
import type { Sanitizer } from '../machine/machine.ts';

/**
 * Nobody may rely on an entry that nobody stored (invariant E of the specification).
 *
 * Where entries are read and written by halves, two halves of different values can be put together. Such an
 * entry is *torn* if it has P set and its 64 bits are those of neither value. "The word never held it at one
 * instant" says less: between the two stores of a writer memory itself holds what was never meant (M2.1).
 *
 * Reading a torn entry is no mistake: GUP-fast takes a reference on whatever page it names, reads the entry
 * again and lets go (I4: everybody tolerates that reference). Relying on it is:
 *
 *  - returning the page that it maps (the end of a lookup, with that page);
 *  - following it as a pointer to a table;
 *  - storing an entry that was made from it, without having compared under the lock (pte_same());
 *  - believing it, in a lookup that only reads and says so (`entry_relied_on`);
 *  - letting hardware do any of that: a CPU that walks these tables can use what is in memory at once.
 *
 * It is judged by the values that the halves were stored as parts of, which go with each half that is read:
 * what this reads has been recorded by the loads (or, of memory, by the store) that put the entry together.
 */
export const torn_entry: Sanitizer = {
  name: 'torn-entry',

  torn(machine, who, frame, what) {
    const { name } = machine.memory.info(frame);
    machine.violate({
      kind: 'torn-entry',
      actor: who.name,
      object: name,
      message: `${who.name} ${what} an entry that nobody stored: its halves, of two entries, name ${name}.`,
      stops: true,
    });
    return false;
  },

  settle(machine, who, page) {
    if (page) machine.isWhole(who, page.frame, page.generation, 'returns the page of');
  },

  reachable(machine, who, cpu, frame, generation) {
    if (generation !== TORN) return;
    const { name } = machine.memory.info(frame);
    machine.violate({
      kind: 'torn-entry',
      actor: who.name,
      object: name,
      message: `${cpu.name} can walk an entry that is half stored by ${who.name} and names ${name}.`,
      stops: false,
    });
  },
};
