import { countsOfOpen } from '../machine/balance.ts';
import type { Sanitizer } from '../machine/machine.ts';
import { FREE, lifeGeneration, lifeState } from '../machine/memory.ts';

/**
 * Starts and ends in pairs (S5 of the specification): when everybody has finished, no invalidation is open. A
 * count that stays up makes every later fault try again for ever, also if nobody faults in this run; one below
 * zero lets a later fault in while its page is taken away.
 */
export const balance: Sanitizer = {
  name: 'balance',

  quiescence(machine) {
    const { cells, memory } = machine;
    for (const { word, dead } of countsOfOpen(machine)) {
      if (word.frame >= 0) {
        const life = cells.peek(memory.info(word.frame).life);
        if (lifeState(life) === FREE || lifeGeneration(life) !== word.generation) continue;
      }
      const count = memory.load(word);
      if (count === 0 || (dead && memory.load(dead) !== 0)) continue;
      const what = count > 0 ? 'a start without its end' : 'an end without its start';
      machine.violate({
        kind: 'property',
        actor: '',
        object: word.name,
        message: `${word.name} is ${count} when everybody has finished: ${what}.`,
        stops: false,
      });
    }
  },
};
