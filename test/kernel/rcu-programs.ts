import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { explore } from '../../src/explore/explore.ts';
import type { Program } from '../../src/explore/run.ts';
import { fn, patch, type Patch } from '../../src/machine/fn.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import * as linux from '../../src/kernel/index.ts';

/** Small programs over RCU, to be run with either of its implementations. */
export interface Words {
  readonly x: Word;
  readonly y: Word;
  readonly z: Word;
  readonly lock: Word;
}

export type Body = (w: Words) => Steps<unknown>;

/** The grace-period machine instead of the abstract specification. */
export const TREE: readonly Patch[] = [
  patch(linux.call_rcu, linux.tree_call_rcu),
  patch(linux.synchronize_rcu, linux.tree_synchronize_rcu),
];

/** A task by the CPU it is on: several on one CPU are scheduled, not parallel. */
export type Tasks = Readonly<Record<string, Body>>;

export interface BuiltProgram {
  readonly program: Program;
  readonly words: Words;
}

export function build(tasks: Tasks, patches: readonly Patch[]): BuiltProgram {
  const cpuOf = (name: string): string => name.split('/')[0] ?? name;
  const cpus = [...new Set(Object.keys(tasks).map(cpuOf))];
  const machine = new Machine({
    arch: x86_64_descriptor,
    cpus: cpus.map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const variable = (name: string): Word => machine.memory.variable(name);
  const words: Words = Object.freeze({
    x: variable('x'),
    y: variable('y'),
    z: variable('z'),
    lock: variable('lock'),
  });
  const actors = Object.entries(tasks).map(([name, body]) => ({
    actor: machine.addActor({
      name,
      column: name,
      cpu: cpus.indexOf(cpuOf(name)),
      kind: 'task',
      daemon: false,
      shared: Object.keys(tasks).filter((other) => cpuOf(other) === cpuOf(name)).length > 1,
      creator: -1,
    }),
    begin: () => body(words),
  }));
  const program: Program = {
    machine,
    actors,
    patches: new Map(patches.map(({ target, replacement }) => [target, replacement])),
    traced: false,
    stepChecks: [],
  };
  return { program, words };
}

export interface Outcomes {
  readonly finals: ReadonlySet<string>;
  readonly violations: ReadonlySet<string>;
}

/** Everything that a program can come to: what its tasks return and its words say at the end. */
export function outcomes(tasks: Tasks, patches: readonly Patch[]): Outcomes {
  const { program, words } = build(tasks, patches);
  const { machine, actors } = program;
  const finals = new Set<string>();
  const { violations } = explore(program, {
    ended(run, ending) {
      const returned = actors.map(({ actor }) => String(run.nodes[actor.index]?.result));
      const values = Object.values(words).map(
        ({ name, cell }) => `${name}=${machine.cells.peek(cell)}`,
      );
      finals.add([ending, ...returned, ...values].join(' '));
    },
  });
  const messages = [...violations.values()].map(({ violation: { message } }) => message);
  return { finals, violations: new Set(messages) };
}

/** Reads what updaters write before (x) and after (y) their grace period. */
function* look({ x, y }: Words): Steps<string> {
  const before = yield* linux.READ_ONCE(x);
  const after = yield* linux.READ_ONCE(y);
  return `${before}${after}`;
}

const handler = fn(function* handler(w: Words): Steps<void> {
  yield* linux.WRITE_ONCE(w.z, 1 + Number(yield* look(w)));
});

/** One for each kind of section that a grace period waits for, and none. */
export const readers: Readonly<Record<string, Body>> = {
  *rcu_read_lock(w) {
    yield* linux.rcu_read_lock();
    const seen = yield* look(w);
    yield* linux.rcu_read_unlock();
    return seen;
  },
  *'nested rcu_read_lock'(w) {
    yield* linux.rcu_read_lock();
    const before = yield* linux.READ_ONCE(w.x);
    yield* linux.rcu_read_lock();
    yield* linux.rcu_read_unlock();
    const after = yield* linux.READ_ONCE(w.y);
    yield* linux.rcu_read_unlock();
    return `${before}${after}`;
  },
  *'interrupts off'(w) {
    const flags = yield* linux.local_irq_save();
    const seen = yield* look(w);
    yield* linux.local_irq_restore(flags);
    return seen;
  },
  *'preemption off'(w) {
    yield* linux.preempt_disable();
    const seen = yield* look(w);
    yield* linux.preempt_enable();
    return seen;
  },
  *'spinlock held'(w) {
    yield* linux.spin_lock(w.lock);
    const seen = yield* look(w);
    yield* linux.spin_unlock(w.lock);
    return seen;
  },
  *'interrupt handler'(w) {
    return yield* linux.csd_lock_wait(yield* linux.send_ipi(0, handler, [w]));
  },
  *'two sections'(w) {
    yield* linux.rcu_read_lock();
    const first = yield* look(w);
    yield* linux.rcu_read_unlock();
    const flags = yield* linux.local_irq_save();
    const second = yield* look(w);
    yield* linux.local_irq_restore(flags);
    return `${first} ${second}`;
  },
  'no section': look,
};

const publish = fn(function* publish(w: Words): Steps<void> {
  yield* linux.WRITE_ONCE(w.y, 1);
});

const other = fn(function* other(w: Words): Steps<void> {
  yield* linux.WRITE_ONCE(w.z, 5);
});

const chained = fn(function* chained(w: Words): Steps<void> {
  yield* linux.call_rcu(publish, [w]);
});

/** Each changes x before a grace period and y after it. */
export const updaters: Readonly<Record<string, Body>> = {
  *call_rcu(w) {
    yield* linux.WRITE_ONCE(w.x, 1);
    yield* linux.call_rcu(publish, [w]);
  },
  *synchronize_rcu(w) {
    yield* linux.WRITE_ONCE(w.x, 1);
    yield* linux.synchronize_rcu();
    yield* linux.WRITE_ONCE(w.y, 1);
  },
  *'call_rcu, another one before'(w) {
    yield* linux.call_rcu(other, [w]);
    yield* linux.WRITE_ONCE(w.x, 1);
    yield* linux.call_rcu(publish, [w]);
  },
  *'synchronize_rcu, call_rcu before'(w) {
    yield* linux.call_rcu(other, [w]);
    yield* linux.WRITE_ONCE(w.x, 1);
    yield* linux.synchronize_rcu();
    yield* linux.WRITE_ONCE(w.y, 1);
  },
  *'call_rcu with interrupts off'(w) {
    const flags = yield* linux.local_irq_save();
    yield* linux.WRITE_ONCE(w.x, 1);
    yield* linux.call_rcu(publish, [w]);
    const y = yield* linux.READ_ONCE(w.y);
    yield* linux.local_irq_restore(flags);
    return y;
  },
  *'call_rcu by a callback'(w) {
    yield* linux.call_rcu(chained, [w]);
    yield* linux.WRITE_ONCE(w.x, 1);
  },
};
