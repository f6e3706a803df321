import type { Sanitizer } from '../machine/machine.ts';

/** might_sleep(): nobody sleeps with interrupts or preemption off, in a handler or in an RCU section. */
export const atomic_sleep: Sanitizer = {
  name: 'sleep-in-atomic',

  mightSleep(machine, who, what) {
    const least = who.kind === 'softirq' ? 1 : 0; // a callback is a section by itself
    const nested = machine.cells.get(machine.cellsOf(who.index).rcuNesting) > least;
    const atomic = who.cpu >= 0 && machine.cells.get(machine.cpu(who.cpu).atomic) > 0;
    if (!nested && !atomic && who.kind !== 'softirq') return true;
    machine.violate({
      kind: 'sleep-in-atomic',
      actor: who.name,
      object: what,
      message: `${who.name} may sleep on ${what} ${nested ? 'inside an RCU read-side section' : 'in atomic context'}.`,
      stops: true,
    });
    return false;
  },
};
