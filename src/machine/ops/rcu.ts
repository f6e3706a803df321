import type { Reader } from '../cells.ts';
import type { Machine } from '../machine.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { fn, leaf, type AnyFn } from '../fn.ts';

/**
 * What a grace period needs of the machine: which read-side sections are open, and waiting for their ends.
 * Protocols use it through `kernel/rcu.ts`.
 *
 * A section is open on a CPU while its `atomic` depth is above zero, and in a task while its own nesting
 * is: preemptible RCU lets a task leave the CPU inside one.
 */

/** The sections that were open at one moment: what a grace period that starts then waits for. */
export interface OpenSections {
  /** [CPU, its count of quiescent states]. */
  readonly cpus: readonly (readonly [number, number])[];
  /** [task, its count of ended sections]. */
  readonly tasks: readonly (readonly [number, number])[];
}

export function openSections(m: Machine): OpenSections {
  const { cells } = m;
  const cpus: [number, number][] = [];
  for (const cpu of m.cpus) {
    if (cells.get(cpu.atomic) > 0) cpus.push([cpu.index, cells.get(cpu.quiescent)]);
  }
  const tasks: [number, number][] = [];
  cells.get(m.openCallbacks);
  for (const actor of m.actors) {
    const own = m.cellsOf(actor.index);
    const open =
      actor.kind === 'task'
        ? cells.get(own.rcuNesting) > 0
        : actor.kind === 'softirq' && cells.peek(own.rcuNesting) > 0; // changes with openCallbacks
    if (open) tasks.push([actor.index, cells.get(own.rcuEnded)]);
  }
  return m.sections.at(m.sections.id({ cpus, tasks })); // equal sets are one object: they cross a trie edge
}

export function allEnded(read: Reader, m: Machine, open: OpenSections): boolean {
  return (
    open.cpus.every(([cpu, count]) => read.get(m.cpu(cpu).quiescent) !== count) &&
    open.tasks.every(([task, count]) => read.get(m.cellsOf(task).rcuEnded) !== count)
  );
}

const nestOp = defineOp('rcu_nest', {
  exec: (m, who, [change]: [1 | -1]) => {
    const own = m.cellsOf(who.index);
    const nesting = m.cells.get(own.rcuNesting) + change;
    const least = who.kind === 'softirq' ? 1 : 0; // a callback is a section of its own
    if (nesting < least) {
      m.violate({
        kind: 'rcu-misuse',
        actor: who.name,
        object: 'rcu_read_unlock',
        message: `${who.name} calls rcu_read_unlock() outside a read-side section.`,
        stops: true,
      });
      return undefined;
    }
    m.cells.set(own.rcuNesting, nesting);
    if (nesting === 0) m.cells.set(own.rcuEnded, m.cells.get(own.rcuEnded) + 1);
    return undefined;
  },
});

/** Opens a read-side section of this task (change 1) or closes it (-1). */
export function* rcu_nest(change: 1 | -1): Steps<void> {
  yield* perform(nestOp, [change]);
}

const graceOp = defineOp('grace_period', {
  guard: (read, m, _who, [open]: [OpenSections]) => allEnded(read, m, open),
  exec: (m, who) => {
    m.cells.set(m.cellsOf(who.index).rcuNesting, 1); // softirq context is a read-side section
    m.cells.add(m.openCallbacks, 1);
    return undefined;
  },
  describe: (_m, who) => ({ event: who.name }),
  waitsFor: (m, _who, [open]) =>
    `a grace period, held up by ${open.cpus.map(([cpu]) => m.cpu(cpu).name).join(', ')}`,
});

const waitOp = defineOp('synchronize_rcu', {
  guard: (read, m, _who, [open]: [OpenSections]) => allEnded(read, m, open),
  exec: () => undefined,
  waitsFor: () => 'a grace period',
});

/** Runs `callback` once every section in `open` has ended. The body of an RCU callback's actor. */
export const after_grace_period = fn(
  function* after_grace_period(
    open: OpenSections,
    callback: AnyFn,
    ...args: unknown[]
  ): Steps<void> {
    yield* perform(graceOp, [open]);
    yield* (callback as unknown as (...args: unknown[]) => Steps<unknown>)(...args);
  },
  { hidden: true },
);

const queueOp = defineOp('call_rcu', {
  exec: (m, who, [callback, args, effect]: QueueArgs) => {
    const open = openSections(m);
    effect?.(m);
    m.spawn(who, {
      fn: after_grace_period,
      args: [open, callback, ...args],
      title: `RCU callback: ${callback.title}()`,
      kind: 'softirq',
      cpu: -1,
      column: who.column,
    });
    return undefined;
  },
});

type QueueArgs = [callback: AnyFn, args: readonly unknown[], effect: ((m: Machine) => void) | null];

/** Runs `callback(...args)` after a grace period that begins now. */
export function* queue_callback(
  callback: AnyFn,
  args: readonly unknown[],
  effect?: ((m: Machine) => void) | null,
): Steps<void> {
  yield* perform(queueOp, [callback, args, effect ?? null]);
}

const snapshotOp = defineOp('start_grace_period', {
  exec: (m, who) => (m.maySleep(who, 'synchronize_rcu()') ? openSections(m) : null),
});

/** Waits for a grace period. May sleep. */
export const wait_grace_period = leaf(function* wait_grace_period(): Steps<void> {
  const open = yield* perform(snapshotOp, []);
  if (open) yield* perform(waitOp, [open]);
});
