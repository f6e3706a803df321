import type { Sanitizer } from '../machine/machine.ts';

/** What an actor must not leave behind when it ends: interrupts off, locks held. */
export const leftovers: Sanitizer = {
  name: 'leftovers',

  quiescence(machine, results) {
    for (const { actor } of results) {
      if (actor.cpu >= 0 && actor.kind === 'task') {
        const cpu = machine.cpu(actor.cpu);
        if (machine.cells.peek(cpu.irqOff) !== 0) {
          machine.violate({
            kind: 'irq-leak',
            actor: actor.name,
            object: cpu.name,
            message: `${actor.name} ends with interrupts off.`,
            stops: false,
          });
        }
      }
      const held = machine.cells.peek(machine.cellsOf(actor.index).locks);
      if (held !== 0) {
        machine.violate({
          kind: 'lock-leak',
          actor: actor.name,
          object: actor.name,
          message: `${actor.name} ends holding ${held} lock${held === 1 ? '' : 's'}.`,
          stops: false,
        });
      }
    }
  },
};
