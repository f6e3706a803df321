import type { Machine, Sanitizer } from '../machine/machine.ts';
import { FREE, lifeGeneration, lifeState } from '../machine/memory.ts';

/**
 * KASAN for page frames: following a pointer into a frame that was freed since the pointer was made, and
 * freeing a frame twice. A frame that was handed out again is as wrong as one that lies in the pool: the
 * pointer's generation tells.
 */
export const use_after_free: Sanitizer = {
  name: 'use-after-free',

  dereference(machine, who, frame, generation, what) {
    const { name, life } = machine.memory.info(frame);
    const now = machine.cells.get(life);
    const reused = lifeState(now) !== FREE || lifeGeneration(now) !== generation;
    machine.violate({
      kind: 'use-after-free',
      actor: who.name,
      object: name,
      message: reused
        ? `${who.name} uses ${what} through a pointer from before ${name} was freed and handed out again.`
        : `${who.name} uses ${what} after ${name} has been freed.`,
      stops: true,
    });
    return false;
  },

  free(machine, who, frame, generation) {
    if (isOwned(machine, frame, generation)) return true;
    const { name } = machine.memory.info(frame);
    machine.violate({
      kind: 'double-free',
      actor: who.name,
      object: name,
      message: `${who.name} frees ${name}, which has been freed already.`,
      stops: true,
    });
    return false;
  },
};

function isOwned(machine: Machine, frame: number, generation: number): boolean {
  const life = machine.cells.get(machine.memory.info(frame).life);
  return lifeState(life) !== FREE && lifeGeneration(life) === generation;
}
