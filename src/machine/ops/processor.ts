import type { Actor } from '../actor.ts';
import type { Cell } from '../cells.ts';
import { endAtomic, enterAtomic, interruptible, leaveAtomic, type Cpu } from '../cpu.ts';
import type { Machine } from '../machine.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { fn, leaf, type AnyFn } from '../fn.ts';
import { TASK } from '../cpu.ts';

/** Interrupt state and inter-processor interrupts. */

/** An enable without its disable. It stops the actor: what it does next, it does in a state it has not got. */
function unbalanced(m: Machine, who: Actor, what: string): undefined {
  m.violate({
    kind: 'lock-leak',
    actor: who.name,
    object: own(m, who).name,
    message: `${who.name} calls ${what}.`,
    stops: true,
  });
  return undefined;
}

function own(m: Machine, who: Actor): Cpu {
  return m.cpu(who.cpu);
}

/** The region has ended for the CPU; for grace periods it ends behind the stores that were made in it. */
function leave(m: Machine, who: Actor): void {
  const ends = endAtomic(m.cells, own(m, who));
  if (ends !== undefined) m.later(who, { name: 'leave', ends });
}

const irqSaveOp = defineOp('irq_save', {
  ordering: 'none', // CLI and STI serialise nothing
  learns: 'nothing', // its own CPU's flag
  exec: (m, who) => {
    const cpu = own(m, who);
    const before = m.cells.get(cpu.irqOff);
    if (before === 0) {
      m.cells.set(cpu.irqOff, 1);
      enterAtomic(m.cells, cpu);
    }
    return before;
  },
});

/**
 * As the processor does it: what the flags say, whatever was before. Restoring "off" where interrupts are on
 * (two sections closed in the wrong order) turns them off. Where a variant has patched `local_irq_save` away
 * there is nothing to restore.
 */
const irqRestoreOp = defineOp('irq_restore', {
  ordering: 'store',
  exec: (m, who, [flags]: [number]) => {
    const cpu = own(m, who);
    if (flags !== 0 && flags !== 1) return undefined;
    if (m.cells.get(cpu.irqOff) === flags) return undefined;
    m.cells.set(cpu.irqOff, flags);
    if (flags === 1) enterAtomic(m.cells, cpu);
    else leave(m, who);
    return undefined;
  },
});

/** Turns interrupts off on this CPU; returns the state before (0: they were on). */
export const local_irq_save = leaf(
  function* local_irq_save(): Steps<number> {
    return yield* perform(irqSaveOp, []);
  },
  {
    protects: {
      what: 'local_irq_save()',
      opens: 'interrupts off',
      without: function* () {
        return 0;
      },
    },
  },
);

/** Restores what `local_irq_save` returned. */
export const local_irq_restore = leaf(
  function* local_irq_restore(flags: number): Steps<void> {
    // Where a variant has taken the saving away there are no flags; interrupts are then as they were: on.
    yield* perform(irqRestoreOp, [(flags as number | undefined) ?? 0]);
  },
  { closes: 'interrupts off' },
);

/**
 * How often each actor has turned preemption off. The CPU's depth will not do: a spinlock or a handler
 * keeps it above zero, and an enable too many would only be noticed when they end, if ever. Nobody but the
 * actor itself looks before the run has ended, so this is a satellite.
 */
function preemptCell(m: Machine, actor: number): Cell {
  const key = `preempt:${actor}`;
  let cell = m.objects.get(key) as Cell | undefined;
  if (cell === undefined) m.objects.set(key, (cell = m.cells.allocate()));
  return cell;
}

/** How often has an actor turned preemption off without turning it on again? */
export function preemptDepth(m: Machine, actor: number): number {
  return m.cells.peek(preemptCell(m, actor));
}

const preemptOp = defineOp('preempt', {
  ordering: 'store', // plain arithmetic on a counter of this CPU
  exec: (m, who, [change]: [1 | -1]) => {
    const depth = preemptDepth(m, who.index) + change;
    if (depth < 0) return unbalanced(m, who, 'preempt_enable() without preempt_disable()');
    m.cells.poke(preemptCell(m, who.index), depth);
    if (change === 1) enterAtomic(m.cells, own(m, who));
    else leave(m, who);
    return undefined;
  },
});

/** Keeps the task on this CPU; such a region is an RCU read-side section too. */
export const preempt_disable = leaf(
  function* preempt_disable(): Steps<void> {
    yield* perform(preemptOp, [1]);
  },
  { protects: { what: 'preempt_disable()', opens: 'preemption off' } },
);

export const preempt_enable = leaf(
  function* preempt_enable(): Steps<void> {
    yield* perform(preemptOp, [-1]);
  },
  { closes: 'preemption off' },
);

const enterOp = defineOp('irq_enter', {
  ordering: 'full', // taking an interrupt empties the store buffer (SDM 3A, "Store Buffer")
  guard: (read, m, who) => interruptible(read, own(m, who)),
  exec: (m, who) => {
    const cpu = own(m, who);
    m.cells.set(cpu.run, who.index + 1);
    enterAtomic(m.cells, cpu);
    return undefined;
  },
  describe: (_m, who) => ({ event: who.name }),
  waitsFor: (m, who) => `${own(m, who).name} to take interrupts`,
  blockers: (_m, who) => [{ holds: 'interrupts', cpu: who.cpu }],
});

const exitOp = defineOp('irq_exit', {
  ordering: 'full', // IRET is a serialising instruction
  exec: (m, who) => {
    const cpu = own(m, who);
    m.cells.set(cpu.run, TASK);
    leaveAtomic(m.cells, cpu);
    return undefined;
  },
  describe: () => ({ event: 'returns from interrupt' }),
});

/**
 * An interrupt handler: runs `handler` on its CPU once that takes interrupts, with interrupts off
 * throughout; what it interrupted goes on only after it has returned.
 */
export const interrupt = fn(
  function* interrupt(handler: AnyFn, ...args: unknown[]): Steps<void> {
    yield* perform(enterOp, []);
    yield* (handler as unknown as (...args: unknown[]) => Steps<unknown>)(...args);
    yield* perform(exitOp, []);
  },
  { hidden: true },
);

const sendOp = defineOp('send_ipi', {
  ordering: 'full', // llist_add() to the target's queue is a locked instruction, and the APIC is told after it
  exec: (m, who, [target, handler, args]: [number, AnyFn, readonly unknown[]]) => {
    const cpu = m.cpu(target);
    const handling = m.spawn(who, {
      fn: interrupt,
      args: [handler, ...args],
      title: `IPI: ${handler.title}`,
      kind: 'irq',
      cpu: target,
      column: cpu.name,
    });
    return handling.index;
  },
  describe: (m, _who, [target]) => ({ comment: `to ${m.cpu(target).name}` }),
});

/** Sends an inter-processor interrupt that runs `handler(...args)` on `cpu`. Returns what to wait for. */
export const send_ipi = leaf(function* send_ipi(
  cpu: number,
  handler: AnyFn,
  args: readonly unknown[],
): Steps<number> {
  return yield* perform(sendOp, [cpu, handler, args]);
});

const acknowledgedOp = defineOp('wait_ipi', {
  ordering: 'none', // smp_cond_load_acquire()
  guard: (read, m, _who, [handling]: [number]) => read.get(m.cellsOf(handling).status) !== 0,
  exec: () => undefined,
  describe: (m, _who, [handling]) => ({ comment: `for ${m.cpu(m.actor(handling).cpu).name}` }),
  waitsFor: (m, _who, [handling]) => {
    const target = m.actor(handling);
    return `${m.cpu(target.cpu).name} to handle <${target.name}>`;
  },
  blockers: (_m, _who, [handling]) => [{ holds: 'end', actor: handling }],
});

/** Waits until the handler that `send_ipi` started has run on its target. */
export const csd_lock_wait = leaf(
  function* csd_lock_wait(handling: number): Steps<void> {
    yield* perform(acknowledgedOp, [handling]);
  },
  { protects: { what: 'the wait for IPIs' } },
);
