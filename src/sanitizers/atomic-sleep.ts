import type { Actor } from '../machine/actor.ts';
import type { Machine, Sanitizer } from '../machine/machine.ts';
import { mayNotBlock } from '../machine/ops/non-block.ts';

/**
 * might_sleep(): nobody sleeps with interrupts or preemption off, in a handler or in an RCU section; and nobody
 * blocks between non_block_start() and non_block_end(), where he could.
 */
export const atomic_sleep: Sanitizer = {
  name: 'sleep-in-atomic',

  mightSleep(machine, who, what) {
    const where = noSleep(machine, who);
    if (where === null) return true;
    machine.violate({
      kind: 'sleep-in-atomic',
      actor: who.name,
      object: what,
      message: `${who.name} may sleep on ${what} ${where}.`,
      stops: true,
    });
    return false;
  },
};

/** Why `who` must not sleep where he is, or null. */
function noSleep(machine: Machine, who: Actor): string | null {
  const { cells } = machine;
  const least = who.kind === 'softirq' ? 1 : 0; // a callback is a section by itself
  const nested = cells.get(machine.cellsOf(who.index).rcuNesting) > least;
  const atomic = who.cpu >= 0 && cells.get(machine.cpu(who.cpu).atomic) > 0;
  if (nested) return 'inside an RCU read-side section';
  if (atomic || who.kind === 'softirq') return 'in atomic context';
  return mayNotBlock(machine, who.index) ? 'where it must not block (non_block_start())' : null;
}
