import type { Actor } from '../machine/actor.ts';
import type { Machine, Sanitizer } from '../machine/machine.ts';
import { heldBy } from '../machine/ops/locks.ts';
import { srcuSections } from '../machine/ops/srcu.ts';
import { preemptDepth } from '../machine/ops/processor.ts';
import type { ViolationKind } from '../machine/violation.ts';

/**
 * What an actor must not leave behind when it ends: interrupts or preemption off, locks held, a read-side
 * section open. Handlers and callbacks end too, and what they leave is left for good.
 */
export const leftovers: Sanitizer = {
  name: 'leftovers',

  quiescence(machine, results) {
    for (const { actor } of results) {
      leftOnCpu(machine, actor);
      const names = heldBy(machine, actor.index).map(({ word }) => word.name);
      if (names.length > 0) {
        complain(machine, actor, 'lock-leak', names.join(', '), `holding ${listed(names)}`);
      }
      if (machine.cells.peek(machine.cellsOf(actor.index).rcuNesting) > 0) {
        const what = 'inside an RCU read-side section';
        complain(machine, actor, 'rcu-misuse', 'rcu_read_lock', what);
      }
      for (const domain of srcuSections(machine, actor.index)) {
        complain(machine, actor, 'rcu-misuse', domain, `inside a section of ${domain}`);
      }
    }
  },
};

function leftOnCpu(machine: Machine, actor: Actor): void {
  if (actor.cpu < 0) return;
  const cpu = machine.cpu(actor.cpu);
  if (actor.kind === 'task' && machine.cells.peek(cpu.irqOff) !== 0) {
    complain(machine, actor, 'irq-leak', cpu.name, 'with interrupts off');
  }
  if (preemptDepth(machine, actor.index) > 0) {
    complain(machine, actor, 'lock-leak', cpu.name, 'with preemption off');
  }
}

function complain(
  machine: Machine,
  actor: Actor,
  kind: ViolationKind,
  object: string,
  how: string,
): void {
  const message = `${actor.name} ends ${how}.`;
  machine.violate({ kind, actor: actor.name, object, message, stops: false });
}

function listed(names: readonly string[]): string {
  if (names.length < 2) return names.join('');
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`;
}
