import type { Actor } from '../actor.ts';
import type { Cell, Reader } from '../cells.ts';
import type { Machine } from '../machine.ts';
import { defineOp, perform, type Blocker, type Steps } from '../op.ts';
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
  /** [CPU, what its count of quiescent states must have come to]. */
  readonly cpus: readonly (readonly [number, number])[];
  /** [task, what its count of ended sections must have come to]. */
  readonly tasks: readonly (readonly [number, number])[];
}

export function openSections(m: Machine): OpenSections {
  const { cells } = m;
  const cpus: [number, number][] = [];
  for (const cpu of m.cpus) {
    const inside = cells.get(cpu.atomic) > 0 && cells.get(cpu.guest) === 0;
    const open = sections(m, inside, cpu.quiescent);
    if (open > 0) cpus.push([cpu.index, cells.get(cpu.quiescent) + open]);
  }
  const tasks: [number, number][] = [];
  cells.get(m.openCallbacks);
  for (const actor of m.actors) {
    const own = m.cellsOf(actor.index);
    let open = 0;
    if (actor.kind === 'task') open = sections(m, cells.get(own.rcuNesting) > 0, own.rcuEnded);
    else if (actor.kind === 'softirq' && cells.peek(own.rcuNesting) > 0) open = 1; // see openCallbacks
    if (open > 0) tasks.push([actor.index, cells.get(own.rcuEnded) + open]);
  }
  return m.sections.at(m.sections.id({ cpus, tasks })); // equal sets are one object: they cross a trie edge
}

/**
 * How many sections a grace period must see the end of: the present one, if there is one, and those that have
 * ended behind stores that are still buffered. When a grace period is over, everything stored in the
 * sections that it has waited for is in memory (linux-mm.md 5.3).
 */
function sections(m: Machine, inside: boolean, ended: Cell): number {
  return (inside ? 1 : 0) + (m.buffers?.unseenEnds(m.cells, ended) ?? 0);
}

export function allEnded(read: Reader, m: Machine, open: OpenSections): boolean {
  return (
    open.cpus.every(([cpu, count]) => read.get(m.cpu(cpu).quiescent) >= count) &&
    open.tasks.every(([task, count]) => read.get(m.cellsOf(task).rcuEnded) >= count)
  );
}

/** The sections of `open` that have not ended yet. */
function holdingUp(m: Machine, { cpus, tasks }: OpenSections): Blocker[] {
  const { cells } = m;
  return [
    ...cpus
      .filter(([cpu, count]) => cells.peek(m.cpu(cpu).quiescent) < count)
      .map(([cpu]): Blocker => ({ holds: 'atomic', cpu })),
    ...tasks
      .filter(([task, count]) => cells.peek(m.cellsOf(task).rcuEnded) < count)
      .map(([actor]): Blocker => ({ holds: 'section', actor })),
  ];
}

/** Who has not ended, for people: the CPUs and tasks by name. */
function stillOpen(m: Machine, open: OpenSections): string[] {
  const { cells } = m;
  const cpus = open.cpus.filter(([cpu, count]) => cells.peek(m.cpu(cpu).quiescent) < count);
  const tasks = open.tasks.filter(([task, count]) => cells.peek(m.cellsOf(task).rcuEnded) < count);
  const names = [
    ...cpus.map(([cpu]) => m.cpu(cpu).name),
    ...tasks.map(([task]) => m.actor(task).name),
  ];
  return [...new Set(names)];
}

const nestOp = defineOp('rcu_nest', {
  ordering: 'store',
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
    if (nesting === 0) m.later(who, { name: 'rcu_read_unlock', ends: own.rcuEnded });
    return undefined;
  },
});

/** Opens a read-side section of this task (change 1) or closes it (-1). */
export function* rcu_nest(change: 1 | -1): Steps<void> {
  yield* perform(nestOp, [change]);
}

const graceOp = defineOp('grace_period', {
  ordering: 'none', // a callback runs on no CPU of the scenario and has no buffer
  guard: (read, m, _who, [open]: [OpenSections]) => allEnded(read, m, open),
  exec: (m, who) => {
    m.cells.set(m.cellsOf(who.index).rcuNesting, 1); // softirq context is a read-side section
    m.cells.add(m.openCallbacks, 1);
    return undefined;
  },
  describe: (_m, who) => ({ event: who.name }),
  waitsFor: (m, _who, [open]) => `a grace period, held up by ${stillOpen(m, open).join(', ')}`,
  blockers: (m, _who, [open]) => holdingUp(m, open),
});

const waitOp = defineOp('synchronize_rcu', {
  ordering: 'full', // it sleeps
  guard: (read, m, _who, [open]: [OpenSections]) => allEnded(read, m, open),
  exec: () => undefined,
  waitsFor: () => 'a grace period',
  blockers: (m, _who, [open]) => holdingUp(m, open),
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

/**
 * Queueing is work on a list of this CPU, and promises no barrier. The grace period that follows is one: it begins behind
 * the stores that were made before, so that who enters a section after its beginning sees what was unlinked.
 */
const queueOp = defineOp('call_rcu', {
  ordering: 'store',
  exec: (m, who, args: QueueArgs) => {
    m.later(who, { name: 'call_rcu', identity: args, act: () => enqueue(m, who, args) });
    return undefined;
  },
});

function enqueue(m: Machine, who: Actor, [callback, args, effect, waits]: QueueArgs): void {
  const open = waits ? openSections(m) : NOBODY;
  effect?.(m);
  m.spawn(who, {
    fn: after_grace_period,
    args: [open, callback, ...args],
    title: `RCU callback: ${callback.title}()`,
    kind: 'softirq',
    cpu: -1,
    column: who.column,
  });
}

const NOBODY: OpenSections = { cpus: [], tasks: [] };

type QueueArgs = [
  callback: AnyFn,
  args: readonly unknown[],
  effect: ((m: Machine) => void) | null,
  waits: boolean,
];

/** Runs `callback(...args)` after a grace period that begins now. */
export function* queue_callback(
  callback: AnyFn,
  args: readonly unknown[],
  effect?: ((m: Machine) => void) | null,
): Steps<void> {
  yield* perform(queueOp, [callback, args, effect ?? null, true]);
}

/** The same without a grace period: it runs whenever it likes, still as somebody else. */
export function* queue_callback_at_once(
  callback: AnyFn,
  args: readonly unknown[],
  effect?: ((m: Machine) => void) | null,
): Steps<void> {
  yield* perform(queueOp, [callback, args, effect ?? null, false]);
}

const snapshotOp = defineOp('start_grace_period', {
  ordering: 'full',
  exec: (m, who) => (m.maySleep(who, 'synchronize_rcu()') ? openSections(m) : null),
});

/** Waits for a grace period. May sleep. */
export const wait_grace_period = leaf(function* wait_grace_period(): Steps<void> {
  const open = yield* perform(snapshotOp, []);
  if (open) yield* perform(waitOp, [open]);
});
