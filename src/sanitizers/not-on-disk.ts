import type { Machine, Sanitizer } from '../machine/machine.ts';
import { ALLOCATED, lifeState } from '../machine/memory.ts';
import { onDisk } from '../machine/ops/disk.ts';
import { mappingEntries } from './leak.ts';

/**
 * Stores to the pages of files (D1 and P4 of the specification): what a page says is on disk, or the page is
 * dirty, or an entry that maps it is, so that writeback will still find it. A page that is clean and differs
 * from its copy on disk has lost a store.
 *
 * Judged when a page is freed, and in final states.
 */
export const not_on_disk: Sanitizer = {
  name: 'not-on-disk',

  free(machine, who, frame) {
    const copy = onDisk(machine, frame);
    if (!copy) return true;
    const { life } = machine.memory.info(frame);
    const page = machine.memory.at(frame * 4096, machine.cells.get(life) >> 2);
    const saved = machine.memory.loadWide(copy).bits;
    if (machine.memory.loadWide(page).bits !== saved)
      complain(machine, who.name, frame, 'is freed');
    return true;
  },

  quiescence(machine) {
    const { cells, memory } = machine;
    for (const { index, fields, life } of memory.frames.slice(1)) {
      const copy = onDisk(machine, index);
      if (!copy || lifeState(cells.peek(life)) !== ALLOCATED) continue;
      if (
        memory.peekWide(memory.at(index * 4096, cells.peek(life) >> 2)).bits ===
        memory.peekWide(copy).bits
      )
        continue;
      const marked = mappingEntries(machine).some((it) => it.frame === index && it.dirty === true);
      if (cells.peek(fields.PG_dirty.cell) === 0 && !marked) {
        complain(machine, 'everyone', index, 'is clean');
      }
    }
  },
};

function complain(machine: Machine, actor: string, frame: number, how: string): void {
  const { name } = machine.memory.info(frame);
  machine.violate({
    kind: 'lost-write',
    actor,
    object: name,
    message: `${name} ${how}, but what was stored to it last is not on disk.`,
    stops: false,
  });
}
