import { describe, expect, test } from 'vitest';
import { GracewalkError } from '../../src/base/errors.ts';
import { new_page } from '../../src/kernel/boot.ts';
import { explore } from '../../src/explore/explore.ts';
import { fn } from '../../src/machine/fn.ts';
import type { Machine } from '../../src/machine/machine.ts';
import type { Page, Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { choose, join, spin_until } from '../../src/machine/ops/control.ts';
import { access_load, access_store } from '../../src/machine/ops/access.ts';
import { kmalloc_GFP_KERNEL, non_block_start } from '../../src/machine/ops/non-block.ts';
import { follow_pointer } from '../../src/machine/ops/follow.ts';
import * as locks from '../../src/machine/ops/locks.ts';
import * as mem from '../../src/machine/ops/memory.ts';
import * as pages from '../../src/machine/ops/pages.ts';
import * as processor from '../../src/machine/ops/processor.ts';
import { queue_callback, rcu_nest, wait_grace_period } from '../../src/machine/ops/rcu.ts';
import {
  queue_srcu_callback,
  srcu_enter,
  srcu_leave,
  wait_srcu_grace_period,
} from '../../src/machine/ops/srcu.ts';
import {
  smp_mb,
  smp_mb__after_srcu_read_unlock,
  smp_rmb,
  smp_wmb,
} from '../../src/machine/ops/store-buffer.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import * as tlb from '../../src/machine/ops/tlb.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';

/** What each op does to the stores that its CPU has buffered. */

const { READ_ONCE, WRITE_ONCE } = mem;

interface World extends Mapped {
  readonly x: Word;
  readonly y: Word;
  readonly lock: Word;
  readonly zero: Word;
  /** A page that nobody maps or holds, and one that somebody holds. */
  readonly unheld: Page;
  readonly held: Page;
}

function world(model: MemoryModel): World {
  const mapped = mapX({ cpus: ['CPU0', 'CPU1'], loaded: [0, 1], model });
  const { memory, cells } = mapped.machine;
  const word = (name: string): Word => memory.variable(name);
  const page = (name: string, refs: number): Page => {
    const info = memory.frame(name);
    cells.values[info.life] = (1 << 2) | 1;
    cells.values[info.refcount.cell] = refs;
    return memory.page(info.index, 1);
  };
  const [unheld, held] = [page('U', 0), page('H', 2)];
  return {
    ...mapped,
    x: word('x'),
    y: word('y'),
    lock: word('lock'),
    zero: word('zero'),
    unheld,
    held,
  };
}

const nothing = fn(function* nothing() {});

/** Before the store, and between the store and the load. */
interface Between {
  readonly before?: (w: World) => Steps<unknown>;
  readonly between: (w: World) => Steps<unknown>;
}

/** SB with an op in the middle of one side and a barrier on the other: do both loads read 0? */
function overtakes({ before, between }: Between, model: MemoryModel): boolean {
  const w = world(model);
  const { x, y, machine } = w;
  const program = tasks(
    machine,
    function* () {
      if (before) yield* before(w);
      yield* WRITE_ONCE(x, 1);
      yield* between(w);
      return yield* READ_ONCE(y);
    },
    function* () {
      yield* WRITE_ONCE(y, 1);
      yield* smp_mb();
      return yield* READ_ONCE(x);
    },
  );
  let seen = false;
  explore(program, {
    ended: ({ nodes }) => {
      if (nodes[0]!.op === null && nodes[0]!.result === 0 && nodes[1]!.result === 0) seen = true;
    },
  });
  return seen;
}

type Row = readonly [name: string, between: Between | Between['between']];

const FULL: readonly Row[] = [
  ['smp_mb', () => smp_mb()],
  ['xchg', ({ zero }) => mem.xchg(zero, 1)],
  ['try_cmpxchg', ({ zero }) => mem.try_cmpxchg(zero, 0, 1)],
  ['try_cmpxchg that fails', ({ zero }) => mem.try_cmpxchg(zero, 7, 1)],
  ['fetch_add', ({ zero }) => mem.fetch_add(zero, 1)],
  ['atomic_add_unless', ({ zero }) => mem.atomic_add_unless(zero, 1, 7)],
  ['xchg_entry', ({ place, none }) => mem.xchg_entry(place(0), none)],
  ['spin_lock', ({ lock }) => locks.spin_lock(lock)],
  ['spin_trylock', ({ lock }) => locks.spin_trylock(lock)],
  ['read_lock', ({ lock }) => locks.read_lock(lock)],
  ['write_lock', ({ lock }) => locks.write_lock(lock)],
  ['mutex_lock', ({ lock }) => locks.mutex_lock(lock)],
  ['mutex_trylock', ({ lock }) => locks.mutex_trylock(lock)],
  ['down_read', ({ lock }) => locks.down_read(lock)],
  ['down_write', ({ lock }) => locks.down_write(lock)],
  ['read_unlock', after(locks.read_lock, locks.read_unlock)],
  ['mutex_unlock', after(locks.mutex_lock, locks.mutex_unlock)],
  ['up_read', after(locks.down_read, locks.up_read)],
  ['up_write', after(locks.down_write, locks.up_write)],
  ['allocate_frame', () => pages.allocate_frame({ what: 'f', level: -1, recycle: false })],
  ['free_frame', ({ unheld }) => pages.free_frame(unheld)],
  ['page_ref_get', ({ held }) => pages.page_ref_get(held, true, null)],
  ['page_ref_put', ({ held }) => pages.page_ref_put(held)],
  ['page_ref_freeze', ({ held }) => pages.page_ref_freeze(held, 1)],
  ['page_ref_freeze that fails', ({ held }) => pages.page_ref_freeze(held, 7)],
  ['send_ipi', () => processor.send_ipi(1, nothing, [])],
  ['invalidate_local', ({ root }) => tlb.invalidate_local(root, null, null, true)],
  ['broadcast_issue', ({ root }) => tlb.broadcast_issue(root, null, null, true)],
  ['broadcast_complete', ({ root }) => tlb.broadcast_complete(root, null, null, true)],
  [
    'xchg_entry_flush',
    ({ place, none, root }) => tlb.xchg_entry_flush(place(0), none, root, null, null, true),
  ],
  ['load_root', ({ root }) => tlb.load_root(root, true)],
  ['wait_grace_period', () => wait_grace_period()],
  ['wait_srcu_grace_period', ({ lock }) => wait_srcu_grace_period(lock)],
  ['smp_mb__after_srcu_read_unlock', () => smp_mb__after_srcu_read_unlock()],
  ['join', () => join()],
];

const NONE: readonly Row[] = [
  ['smp_wmb', () => smp_wmb()],
  ['smp_rmb', () => smp_rmb()],
  ['READ_ONCE', ({ zero }) => READ_ONCE(zero)],
  ['WRITE_ONCE', ({ zero }) => WRITE_ONCE(zero, 1)],
  ['read_entry', ({ place }) => mem.read_entry(place(0))],
  ['access_load', ({ root }) => access_load(root, 0)],
  ['access_store', ({ root }) => access_store(root, 0, 1n)],
  ['write_entry', ({ place, none }) => mem.write_entry(place(0), none)],
  ['atomic_add_unless that does nothing', ({ zero }) => mem.atomic_add_unless(zero, 1, 0)],
  ['spin_unlock', after(locks.spin_lock, locks.spin_unlock)],
  ['write_unlock', after(locks.write_lock, locks.write_unlock)],
  [
    'spin_trylock of a lock that is taken',
    {
      before: ({ lock }) => locks.down_read(lock),
      between: ({ lock }) => locks.spin_trylock(lock),
    },
  ],
  [
    'page_ref_get of a page that nobody holds',
    ({ unheld }) => pages.page_ref_get(unheld, true, null),
  ],
  ['page_ref_unfreeze', ({ unheld }) => pages.page_ref_unfreeze(unheld, 1)],
  ['contents_discarded', ({ held }) => pages.contents_discarded(held)],
  ['entry_suspended', ({ place }) => pages.entry_suspended(place(0))],
  ['follow_pointer', () => follow_pointer('it', 8)],
  ['mark_pending', ({ held }) => pages.mark_pending(held)],
  ['local_irq_save', () => processor.local_irq_save()],
  [
    'local_irq_restore',
    {
      before: () => processor.local_irq_save(),
      between: () => processor.local_irq_restore(0),
    },
  ],
  [
    'preempt_enable',
    { before: () => processor.preempt_disable(), between: () => processor.preempt_enable() },
  ],
  ['rcu_read_unlock', { before: () => rcu_nest(1), between: () => rcu_nest(-1) }],
  ['call_rcu', () => queue_callback(nothing, [])],
  ['srcu_read_lock', ({ lock }) => srcu_enter(lock)],
  [
    'srcu_read_unlock',
    { before: ({ lock }) => srcu_enter(lock), between: ({ lock }) => srcu_leave(lock, 0) },
  ],
  ['call_srcu', ({ lock }) => queue_srcu_callback(lock, nothing, [])],
  ['set_lazy', () => tlb.set_lazy(true)],
  ['spin_until', ({ zero }) => spin_until([zero], (value) => value === 0)],
  ['choose', () => choose('it', [1, 2])],
  ['non_block_start', () => non_block_start()],
  ['kmalloc(GFP_KERNEL)', () => kmalloc_GFP_KERNEL()],
];

type OnLock = (lock: Word) => Steps<unknown>;

function after(lock: OnLock, unlock: OnLock): Between {
  return { before: (w) => lock(w.lock), between: (w) => unlock(w.lock) };
}

const between = (given: Row[1]): Between =>
  typeof given === 'function' ? { between: given } : given;

test.each(FULL)('a load does not overtake a store across %s', (_name, given) => {
  expect(overtakes(between(given), 'sc')).toBe(false);
  expect(overtakes(between(given), 'tso')).toBe(false);
});

test.each(NONE)('a load overtakes a store across %s', (_name, given) => {
  expect(overtakes(between(given), 'sc')).toBe(false);
  expect(overtakes(between(given), 'tso')).toBe(true);
});

test('taking an interrupt, or returning from it, leaves nothing buffered', () => {
  const { x, y, machine } = world('tso');
  const program = tasks(
    machine,
    function* () {
      yield* WRITE_ONCE(x, 1);
      return yield* READ_ONCE(y);
    },
    function* () {
      yield* processor.send_ipi(0, nothing, []);
      yield* WRITE_ONCE(y, 1);
      yield* smp_mb();
      return yield* READ_ONCE(x);
    },
  );
  const seen = new Set<string>();
  explore(program, {
    ended: ({ nodes, actorAt, depth }) => {
      const [store, load] = [actorAt.indexOf(0), actorAt.lastIndexOf(0, depth - 1)];
      const handler = nodes.findIndex((_, at) => machine.actor(at).kind === 'irq');
      const inside = actorAt.slice(store, load).includes(handler);
      const overtaken = nodes[0]!.result === 0 && nodes[1]!.result === 0;
      seen.add(`${inside ? 'interrupted' : 'at once'}: ${overtaken ? 'overtaken' : 'in order'}`);
    },
  });
  expect([...seen].sort()).toEqual([
    'at once: in order',
    'at once: overtaken',
    'interrupted: in order',
  ]);
});

test('a task that no CPU of the machine executes has a buffer of its own', () => {
  const { x, y, machine } = world('tso');
  const alone = (name: string, own: Word, other: Word) => ({
    actor: machine.addActor({
      name,
      column: name,
      cpu: -1,
      kind: 'task',
      daemon: false,
      shared: false,
      creator: -1,
    }),
    begin: function* () {
      yield* WRITE_ONCE(own, 1);
      return yield* READ_ONCE(other);
    },
  });
  const actors = [alone('A', x, y), alone('B', y, x)];
  const program = { machine, actors, patches: new Map(), traced: false, stepChecks: [] };
  const { runs } = explore(program);
  expect(runs).toBe(4); // SB, as with CPUs
});

/** What the runs of a program under x86-TSO end in: what each actor returned. */
function ends(machine: Machine, ...begins: readonly (() => Steps<unknown>)[]): Set<string> {
  const results = new Set<string>();
  explore(tasks(machine, ...begins), {
    ended: ({ nodes }) =>
      results.add(
        begins.map((_, at) => String(nodes[at]!.op ? 'waits' : nodes[at]!.result)).join(),
      ),
  });
  return results;
}

describe('what others see comes behind the stores before it', () => {
  test('a lock is free once what was done under it is in memory', () => {
    const { machine, x, lock } = world('tso');
    const seen = ends(
      machine,
      function* () {
        yield* locks.spin_lock(lock);
        yield* WRITE_ONCE(x, 1);
        yield* WRITE_ONCE(x, 2);
        yield* locks.spin_unlock(lock);
      },
      function* () {
        yield* locks.spin_lock(lock);
        const value = yield* READ_ONCE(x);
        yield* locks.spin_unlock(lock);
        return value;
      },
    );
    expect([...seen].sort()).toEqual(['undefined,0', 'undefined,2']);
  });

  const SECTIONS = [
    ['rcu_read_unlock', () => rcu_nest(1), () => rcu_nest(-1)],
    ['preempt_enable', () => processor.preempt_disable(), () => processor.preempt_enable()],
    ['local_irq_restore', () => processor.local_irq_save(), () => processor.local_irq_restore(0)],
  ] as const;

  test.each(SECTIONS)(
    'a grace period ends behind what was stored before %s',
    (_name, open, close) => {
      const { machine, x, y } = world('tso');
      const seen = ends(
        machine,
        function* () {
          yield* open();
          yield* WRITE_ONCE(y, 1); // seen: the section began before the grace period
          yield* WRITE_ONCE(x, 1);
          yield* close();
          yield* open(); // one that begins later does not count
          yield* WRITE_ONCE(x, 2);
          yield* close();
        },
        function* () {
          const begun = yield* READ_ONCE(y);
          yield* wait_grace_period();
          return begun === 1 ? yield* READ_ONCE(x) : 'not begun';
        },
      );
      expect([...seen].sort()).toEqual(['undefined,1', 'undefined,2', 'undefined,not begun']);
    },
  );

  test('a grace period begins behind what was stored before call_rcu', () => {
    const { machine, x, y } = world('tso');
    const reclaim = fn(function* reclaim() {
      yield* WRITE_ONCE(y, 1);
    });
    const seen = ends(
      machine,
      function* () {
        yield* WRITE_ONCE(x, 1); // unlinked
        yield* queue_callback(reclaim, []);
      },
      function* () {
        yield* rcu_nest(1);
        const unlinked = yield* READ_ONCE(x);
        const reclaimed = yield* READ_ONCE(y);
        yield* rcu_nest(-1);
        return `${unlinked}/${reclaimed}`;
      },
    );
    expect([...seen].sort()).toEqual(['undefined,0/0', 'undefined,1/0', 'undefined,1/1']);
  });
});

test('a store that lands in a page which was freed meanwhile is found where it lands', () => {
  const { machine, y, unheld } = world('tso');
  const word = machine.memory.at(unheld.frame * 4096, unheld.generation);
  const program = tasks(
    machine,
    function* () {
      yield* WRITE_ONCE(word, 1);
      yield* WRITE_ONCE(y, 1);
    },
    () => pages.free_frame(unheld),
  );
  const { violations } = explore(program);
  const messages = [...violations.values()].map(({ violation }) => violation.message);
  expect(messages).toContain(
    'CPU0 uses U[0], by a store that was still buffered, after CPU1 has freed U.',
  );
  expect(messages).toContain('CPU0 uses U[0] after CPU1 has freed U.');
});

test('a load that is wider than the buffered store waits for it', () => {
  const { machine } = world('tso');
  const { frame, generation } = new_page(machine, 'Z');
  const word = machine.memory.at(frame * 4096, generation);
  const seen = ends(machine, function* () {
    yield* WRITE_ONCE(word, 0);
    return (yield* mem.read_entry(word)).bits;
  });
  expect(seen.size).toBe(1);
});

test('store buffers count where there are too many actors', () => {
  const cpus = Array.from({ length: 33 }, (_, at) => `CPU${at}`);
  const { machine } = mapX({ cpus, model: 'tso' });
  const program = tasks(machine, ...cpus.map(() => () => smp_mb()));
  let complaint: unknown;
  try {
    explore(program);
  } catch (error) {
    complaint = error;
  }
  expect(complaint).toBeInstanceOf(GracewalkError);
  const { message, details } = complaint as GracewalkError;
  expect(message).toBe('more than 64 actors');
  expect(details.notes).toContain('so do store buffers: each CPU has one');
});
