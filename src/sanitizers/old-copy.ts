import { copies } from '../machine/copies.ts';
import type { Sanitizer } from '../machine/machine.ts';

/**
 * Stores that nobody hears of (S4 of the specification): what a guest stores to a page is in the log of dirty
 * pages, or marks the page dirty, before somebody relies on what he has copied of it. In a final state each
 * copy is what the word says, or something tells that it is old.
 *
 * Judged in final states alone, because until then the one who must tell may still be on his way.
 */
export const old_copy: Sanitizer = {
  name: 'old-copy',

  quiescence(machine) {
    const { cells, memory } = machine;
    for (const { of, copy, told } of copies(machine)) {
      if (memory.peekWide(of).bits === memory.peekWide(copy).bits) continue;
      if (told.some(({ cell }) => cells.peek(cell) !== 0)) continue;
      const silent = told.map(({ name }) => name).join(' and ');
      machine.violate({
        kind: 'lost-dirty',
        actor: 'everyone',
        object: of.name,
        message: `${of.name} has changed since it was copied to ${copy.name}${silent === '' ? '' : `, and ${silent} does not tell`}.`,
        stops: false,
      });
    }
  },
};
