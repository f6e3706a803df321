import type { Actor } from '../actor.ts';
import type { Machine } from '../machine.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { follow, type Place } from './entry-store.ts';

/** Following pointers that may be NULL, or may lead to something else than the actor takes it for. */

function nullPointer(m: Machine, who: Actor, what: string): void {
  m.violate({
    kind: 'null-dereference',
    actor: who.name,
    object: what,
    message: `${who.name} reads ${what} through a NULL pointer.`,
    stops: true,
  });
}

/** Follows a pointer to an entry. What is no table of the level that the pointer says is not read as one. */
export function followEntry(m: Machine, who: Actor, place: Place): boolean {
  if (!('cell' in place) && place.frame <= 0) {
    nullPointer(m, who, 'the table of an empty entry');
    return false;
  }
  const word = m.memory.resolve(place);
  if (!follow(m, who, word)) return false;
  if ('cell' in place || place.level === undefined) return true;
  const { level, name } = m.memory.info(word.frame);
  if (m.cells.peek(level) === place.level) return true;
  m.violate({
    kind: 'wrong-page',
    actor: who.name,
    object: name,
    message: `${who.name} takes ${name} for a page table, which it is not.`,
    stops: true,
  });
  return false;
}

const followOp = defineOp('follow_pointer', {
  ordering: 'none',
  exec: (m, who, [what, pointer]: [string, number]) => {
    if (pointer === 0) nullPointer(m, who, what);
    return undefined;
  },
});

/** Follows a pointer that a word held, to something that never changes: only NULL leads nowhere. */
export function* follow_pointer(what: string, pointer: number): Steps<void> {
  yield* perform(followOp, [what, pointer]);
}
