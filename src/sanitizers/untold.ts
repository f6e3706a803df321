import type { Actor } from '../machine/actor.ts';
import { announcedBy, watched, type Watched } from '../machine/invalidations.ts';
import type { Machine, Sanitizer } from '../machine/machine.ts';
import { lifeGeneration, type Entry, type Word } from '../machine/memory.ts';
import { stageOf } from '../machine/stages.ts';
import { indexAt, walk } from '../machine/walk.ts';

/**
 * The rule of MMU notifiers (linux v6.12 Documentation/mm/mmu_notifier.rst): as long as somebody subscribes to an
 * address space, whoever takes a page away from an address of it, puts another page there, or takes write
 * permission away, does so between the start and the end of an invalidation of his own that covers the address.
 * So an operation without its hooks is found by any scenario with a subscriber that runs it, whether the device
 * has the page mapped or not.
 *
 * Not asked for, because nobody's copy becomes wrong by it:
 *  - entries that were not present, or that permit more than before;
 *  - tables that no root leads to (new ones, and those that collapse has detached), and empty tables that are
 *    unlinked;
 *  - accessed and dirty marks: aging has methods of its own;
 *  - the flushes that devices are told of which walk the process's tables (arch_invalidate_secondary_tlbs).
 * Not watched: address spaces for which the scenario makes no notifier, and after release(), when the list of
 * subscribers is empty; and the notifiers of 2008, which are told of a single page behind its change.
 *
 * Who has buffered a store (TSO) is asked when it reaches memory. Entries are taken away by atomic instructions,
 * which wait for the buffer.
 */
export const untold: Sanitizer = {
  name: 'untold',

  entryChanged(machine, who, word, before, after) {
    if (!before.present || stageOf(machine.levelOf(word.frame)) !== 0) return;
    for (const space of watched(machine).values()) {
      for (const address of space.mapped)
        judge(machine, who, space, address, { word, before, after });
    }
  },
};

interface Change {
  readonly word: Word;
  readonly before: Entry;
  readonly after: Entry;
}

function judge(
  machine: Machine,
  who: Actor,
  space: Watched,
  address: number,
  { word, before, after }: Change,
): void {
  const level = levelOnTheWay(machine, space.root, address, word);
  if (level === null) return;
  const old = leafBelow(machine, before, level, address);
  const now = leafBelow(machine, after, level, address);
  const isGone = old && now?.frame !== old.frame;
  if (!old || (!isGone && (!old.writable || now?.writable))) return;
  if (!space.subscribers.some((list) => machine.memory.load(list) !== 0)) return;
  const isTold = announcedBy(machine, who).some(
    ({ root, start, end }) => root === space.root && address >= start && address < end,
  );
  if (isTold) return;
  const object = machine.memory.info(old.frame).name;
  const at = `0x${address.toString(16)} of ${space.name}`;
  const what = isGone ? `takes ${object} away from ${at}` : `makes ${at} read-only`;
  const message = `${who.name} ${what} and has not begun an invalidation of it.`;
  machine.violate({ kind: 'property', actor: who.name, object, message, stops: false });
}

/** At which level a walk to the address comes to the word; null: it does not. */
function levelOnTheWay(machine: Machine, root: number, address: number, word: Word): number | null {
  for (const step of walk(machine, root, address)) {
    if (step.word.address === word.address) return step.level;
  }
  return null;
}

/** What the address is mapped to if the entry of the level says `entry`. */
function leafBelow(machine: Machine, entry: Entry, level: number, address: number): Entry | null {
  let found = entry;
  for (let below = level - 1; found.present && found.table; below--) {
    const { frame } = found;
    const generation = lifeGeneration(machine.cells.get(machine.memory.info(frame).life));
    const index = indexAt(machine.arch, below, address);
    found = machine.memory.loadWide(machine.memory.resolve({ frame, generation, index }));
  }
  return found.present ? found : null;
}
