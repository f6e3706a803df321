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
        ? `${who.name} uses ${what} through a pointer from before ${freer(machine, frame)} freed ${name}, which was handed out again.`
        : `${who.name} uses ${what} after ${freer(machine, frame)} has freed ${name}.`,
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

/** Who freed the frame last. */
function freer(machine: Machine, frame: number): string {
  const index = machine.cells.peek(machine.memory.info(frame).freedBy) - 1;
  if (index < 0) return 'somebody';
  const { kind, name } = machine.actor(index);
  return kind === 'softirq' ? 'an RCU callback' : kind === 'irq' ? 'an interrupt handler' : name;
}

function isOwned(machine: Machine, frame: number, generation: number): boolean {
  const life = machine.cells.get(machine.memory.info(frame).life);
  return lifeState(life) !== FREE && lifeGeneration(life) === generation;
}
