import { FOLIO_STEPS } from './folio.ts';
import type { Half } from '../../src/machine/arch.ts';
import type { Random } from './random.ts';
import { guestFamily } from './guests.ts';
import { retryFamily } from './retries.ts';
import { srcuFamily } from './srcu.ts';
import {
  PAGES,
  type Condition,
  type LockMode,
  type Micro,
  type Scope,
  type SlabName,
  type Stmt,
  type Target,
  type Value,
} from './spec.ts';

/** What generated programs are made of, by feature. */

export type Maker = (random: Random) => Stmt;

const CONDITIONS: readonly Condition[] = [
  'all-nonzero',
  'all-zero',
  'any-nonzero',
  'equal',
  'sum',
  'above',
];

/** What a family's programs are made of. */
export interface Family {
  readonly words?: number;
  readonly locks?: number;
  readonly pointers?: number;
  /** Actors, and statements of each. */
  readonly actors: readonly [number, number];
  readonly length: readonly [number, number];
  readonly statements: readonly (readonly [weight: number, make: Maker])[];
  /** Statements of interrupt handlers (0 and 1) and of RCU callbacks (2 and 3). */
  readonly handlers?: readonly (readonly [weight: number, make: Maker])[];
  readonly callbacks?: readonly (readonly [weight: number, make: Maker])[];
  readonly frames?: boolean;
  readonly tables?: boolean;
  readonly slab?: boolean;
  readonly srcu?: boolean;
  readonly walkers?: boolean;
  /** Entries are read and written by halves. */
  readonly split?: boolean;
  /** No store of user code may be lost. */
  readonly keeps?: boolean;
  /** A host actor with these statements, and virtual CPUs. */
  readonly host?: readonly (readonly [weight: number, make: Maker])[];
  readonly shared?: boolean;
  readonly checks?: boolean;
  readonly observers?: boolean;
}

export const WORDS = 3;

const word = (random: Random): number => random.below(WORDS);
const value = (random: Random): Value => ({ received: random.chance(0.4), plus: random.below(3) });
export const condition = (random: Random): Condition => random.of(CONDITIONS);

export function someWords(random: Random): number[] {
  const all = [0, 1, 2].filter(() => random.chance(0.6));
  return all.length > 0 ? all : [word(random)];
}

const read: Maker = (r) => ({ op: 'read', word: word(r) });
export const write: Maker = (r) => ({ op: 'write', word: word(r), value: value(r) });
const xchg: Maker = (r) => ({ op: 'xchg', word: word(r), value: value(r) });
const add: Maker = (r) => ({ op: 'add', word: word(r), value: { received: false, plus: 1 } });
const cas: Maker = (r) => ({ op: 'cas', word: word(r), old: r.below(3), value: value(r) });
const addUnless: Maker = (r) => ({ op: 'add-unless', word: word(r), unless: r.below(2) });
const mb: Maker = () => ({ op: 'mb' });
const wait: Maker = (r) => ({ op: 'wait', words: someWords(r), condition: condition(r) });
const choose: Maker = (r) => ({ op: 'choose', options: r.between(2, 3) });
const branch =
  (...inner: Maker[]): Maker =>
  (r) => ({
    op: 'if',
    body: r.some(r.between(0, 2), () => r.of(inner)(r)),
    otherwise: r.chance(0.5) ? [r.of(inner)(r)] : [],
  });
const locked =
  (modes: readonly LockMode[], ...inner: Maker[]): Maker =>
  (r) => ({
    op: 'lock',
    mode: r.of(modes),
    lock: r.below(2),
    body: r.some(r.between(0, 2), () => r.of(inner)(r)),
  });
const irqOff =
  (...inner: Maker[]): Maker =>
  (r) => ({ op: 'irq-off', body: r.some(r.between(0, 2), () => r.of(inner)(r)) });
const preemptOff =
  (...inner: Maker[]): Maker =>
  (r) => ({ op: 'preempt-off', body: r.some(r.between(1, 2), () => r.of(inner)(r)) });
const rcu =
  (...inner: Maker[]): Maker =>
  (r) => ({ op: 'rcu', body: r.some(r.between(0, 2), () => r.of(inner)(r)) });
const ipi: Maker = (r) => ({
  op: 'ipi',
  cpu: r.below(2),
  handler: r.below(2),
  wait: r.chance(0.5),
});
const callRcu: Maker = (r) => ({ op: 'call-rcu', handler: 2 + r.below(2) });
const treeCallRcu: Maker = (r) => ({ op: 'tree-call-rcu', handler: 2 + r.below(2) });
const slabName = (r: Random): SlabName => r.of(['A', 'A', 'B', 'own']);
const slabFree: Maker = (r) => ({ op: 'slab-free', object: slabName(r) });
const slabRead: Maker = (r) => ({ op: 'slab-read', object: slabName(r) });
const slabWrite: Maker = (r) => ({ op: 'slab-write', object: slabName(r), value: value(r) });
const plainMemory: readonly Maker[] = [read, write, xchg, add, cas];

const micro = (r: Random): Micro =>
  r.of<() => Micro>([
    () => ({ do: 'read', word: word(r) }),
    () => ({ do: 'read', word: word(r) }),
    () => ({ do: 'write', word: word(r), plus: r.below(3) }),
    () => ({ do: 'write', word: word(r), plus: r.below(3) }),
    () => ({ do: 'update', word: word(r) }),
    () => ({ do: 'read-at', plus: r.below(3) }),
    () => ({ do: 'write-at', plus: r.below(3) }),
    () => ({ do: 'skip-if-zero' }),
    () => ({ do: 'outcome' }),
  ])();
const several: Maker = (r) => ({
  op: 'several',
  guard: r.chance(0.45) ? { words: someWords(r), condition: condition(r) } : null,
  outcomes: r.chance(0.15) ? word(r) : null,
  body: r.some(r.between(1, 4), () => micro(r)),
});

const alloc: Maker = (r) => ({ op: 'alloc', recycle: r.chance(0.7), level: -1 });
const publish: Maker = (r) => ({ op: 'publish', pointer: r.below(2) });
const fetch: Maker = (r) => ({ op: 'fetch', pointer: r.below(2) });
const swapPointer: Maker = (r) => ({ op: 'swap-pointer', pointer: r.below(2) });
const derefRead: Maker = () => ({ op: 'deref-read' });
const derefWrite: Maker = (r) => ({ op: 'deref-write', value: value(r) });
const free: Maker = () => ({ op: 'free' });
const pending: Maker = () => ({ op: 'pending' });
const foreign: Maker = (r) => ({ op: 'foreign', count: r.between(1, 2) });

const entryTarget = (r: Random, entry: number): Target => {
  if (r.chance(0.5)) return { to: 'none' };
  return { to: 'frame', frame: r.of(entry < 3 ? ['T', 'U'] : PAGES) };
};
const entry = (r: Random): number => r.of([0, 0, 1, 2, 3, 3, 3, 4, 5, 5]);
const readEntry: Maker = (r) => ({ op: 'read-entry', entry: entry(r) });
const setEntry: Maker = (r) => {
  const at = entry(r);
  return { op: 'set-entry', entry: at, target: entryTarget(r, at) };
};
const xchgEntry: Maker = (r) => {
  const at = entry(r);
  const flush = r.chance(0.2) ? { flush: scope(r) } : {};
  return { op: 'xchg-entry', entry: at, target: entryTarget(r, at), ...flush };
};
const half = (r: Random): Half => r.of(['low', 'high']);
const readHalves: Maker = (r) => ({ op: 'read-halves', entry: entry(r), first: half(r) });
const writeHalf: Maker = (r) => {
  const at = entry(r);
  return { op: 'write-half', entry: at, half: half(r), target: entryTarget(r, at) };
};
const xchgLow: Maker = (r) => {
  const at = entry(r);
  return { op: 'xchg-low', entry: at, half: 'low', target: entryTarget(r, at) };
};
const mapPage: Maker = (r) => ({ op: 'map-page', entry: r.between(3, 5) });
const scope = (r: Random): Scope => ({
  root: r.chance(0.5) ? null : r.of(['R', 'S']),
  entry: r.chance(0.5) ? null : entry(r),
  tables: r.chance(0.7),
});
const invalidate: Maker = (r) => ({ op: 'invalidate', scope: scope(r) });
const broadcast: Maker = (r) => ({ op: 'broadcast', scope: scope(r) });
const loadRoot: Maker = (r) => ({
  op: 'load-root',
  root: r.of(['R', 'R', 'S', null]),
  flush: r.chance(0.5),
  ...(r.chance(0.3) ? { tag: -1 } : {}),
});
const lazy: Maker = (r) => ({ op: 'lazy', on: r.chance(0.5) });
const gone: Maker = () => ({ op: 'gone' });
const freeNamed: Maker = (r) => ({ op: 'free-named', frame: r.of(['P', 'P', 'Q', 'T', 'U', 'R']) });
const allocTable: Maker = (r) => ({ op: 'alloc', recycle: true, level: r.between(-1, 1) });

const lookup: Maker = (r) => ({
  op: 'lookup',
  entry: r.between(3, 5),
  root: r.chance(0.8) ? 'R' : 'S',
  address: r.of([0, 0, 2 ** 12, 2 ** 21]),
  body: r.chance(0.2) ? [write(r)] : [],
});
const folio: Maker = (r) => ({ op: 'folio', what: r.of(FOLIO_STEPS), entry: r.between(3, 5) });
const putRef: Maker = () => ({ op: 'put-ref' });

const onVcpu = (r: Random): number => r.below(2);
const schedOut: Maker = (r) => ({ op: 'sched-out', cpu: onVcpu(r) });
const flushGuest: Maker = (r) => ({ op: 'flush-guest', cpu: onVcpu(r) });
const guestRoot: Maker = (r) => ({ op: 'guest-root', cpu: onVcpu(r) });
const vmEntry: Maker = (r) => ({ op: 'vm-entry', cpu: onVcpu(r) });

const tableStatements: Family['statements'] = [
  [2, readEntry],
  [4, setEntry],
  [4, xchgEntry],
  [4, invalidate],
  [2, broadcast],
  [2, loadRoot],
  [2, lazy],
  [3, gone],
  [3, freeNamed],
  [2, free],
  [1, allocTable],
  [1, mapPage],
  [1, read],
  [1, write],
];

/** Where the tables of the test can lead: its entries 3, 4 and 5, which two roots share. */
const access: Maker = (r) => ({
  op: 'access',
  root: r.chance(0.8) ? 'R' : 'S',
  address: r.of([0, 0, 2 ** 12, 2 ** 21]),
  value: r.chance(0.5) ? value(r) : null,
});

/** Large pages and small ones, with marks and without. */
const leafTarget = (r: Random, at: number): Target => {
  if (r.chance(0.3)) return { to: 'none' };
  const marked = r.chance(0.5) ? { marked: true } : {};
  if (at >= 3) return { to: 'frame', frame: r.of(PAGES), ...marked };
  if (r.chance(0.4)) return { to: 'frame', frame: r.of(['T', 'U']) };
  return { to: 'frame', frame: r.of(PAGES), huge: true, ...marked };
};
const setLeaf: Maker = (r) => {
  const at = entry(r);
  return { op: 'set-entry', entry: at, target: leafTarget(r, at) };
};
const xchgLeaf: Maker = (r) => {
  const at = entry(r);
  const flush = r.chance(0.3) ? { flush: scope(r) } : {};
  return { op: 'xchg-entry', entry: at, target: leafTarget(r, at), ...flush };
};
const age: Maker = (r) => ({ op: 'age', entry: entry(r) });
const writeDisk: Maker = (r) => ({ op: 'write-disk', page: r.of(PAGES) });

export const FAMILIES: Readonly<Record<string, Family>> = {
  memory: {
    actors: [2, 4],
    length: [1, 4],
    statements: [
      [3, read],
      [3, write],
      [2, xchg],
      [1, add],
      [3, cas],
      [1, addUnless],
      [2, branch(...plainMemory)],
    ],
  },
  barriers: {
    locks: 2,
    actors: [2, 3],
    length: [2, 4],
    statements: [
      [5, write],
      [5, read],
      [1, mb],
      [1, wait],
      [0.5, cas],
      [0.5, add],
      [0.5, addUnless],
      [1, locked(['spin', 'write', 'try', 'mutex'], write, read)],
      [0.5, branch(write, read, mb)],
    ],
  },
  locks: {
    locks: 2,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [
        4,
        locked(
          ['spin', 'mutex', 'read', 'write', 'try'],
          read,
          write,
          add,
          locked(['spin', 'mutex', 'read', 'write', 'try'], write, read),
        ),
      ],
      [1, read],
      [1, write],
      [1, branch(write, locked(['mutex', 'try'], add))],
      [0.2, (r) => ({ op: 'unlock', lock: r.below(2) })],
    ],
  },
  waiting: {
    actors: [2, 4],
    length: [1, 4],
    statements: [
      [3, wait],
      [3, write],
      [1, add],
      [1, cas],
      [1, read],
      [1, branch(write, wait)],
      [0.3, (r) => ({ op: 'join', actor: r.below(2) })],
    ],
  },
  choose: {
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [3, choose],
      [3, write],
      [2, read],
      [2, branch(write, choose, add)],
      [1, wait],
      [0.5, () => ({ op: 'assume-nonzero' })],
      [0.3, () => ({ op: 'bound' })],
    ],
  },
  several: {
    actors: [2, 4],
    length: [1, 3],
    statements: [
      [5, several],
      [1, write],
      [1, branch(several, write)],
    ],
  },
  frames: {
    pointers: 2,
    actors: [2, 3],
    length: [2, 4],
    frames: true,
    statements: [
      [3, alloc],
      [2, publish],
      [3, fetch],
      [1, swapPointer],
      [3, derefRead],
      [2, derefWrite],
      [3, free],
      [0.5, pending],
      [0.5, foreign],
      [0.5, branch(free, derefRead)],
    ],
  },
  interrupts: {
    words: 3,
    locks: 2,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [3, ipi],
      [3, irqOff(write, read, ipi)],
      [1, write],
      [1, read],
      [1, locked(['spin'], write, ipi)],
      [0.5, preemptOff(write)],
      [0.2, () => ({ op: 'irq-save' })],
      [0.5, wait],
    ],
    handlers: [
      [3, write],
      [2, read],
      [1, add],
      [0.5, locked(['spin'], write)],
      [0.3, ipi],
    ],
  },
  shared: {
    locks: 2,
    shared: true,
    actors: [2, 4],
    length: [1, 3],
    statements: [
      [3, write],
      [2, read],
      [1, irqOff(write, read)],
      [2, preemptOff(write, read)],
      [1, locked(['spin', 'mutex'], write, read)],
      [1, wait],
      [1, ipi],
    ],
    handlers: [
      [3, write],
      [2, read],
    ],
  },
  tables: {
    tables: true,
    pointers: 1,
    actors: [2, 3],
    length: [1, 4],
    statements: tableStatements,
  },
  accesses: {
    tables: true,
    pointers: 1,
    actors: [2, 3],
    length: [1, 3],
    statements: [...tableStatements, [14, access]],
  },
  leaves: {
    tables: true,
    keeps: true,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [10, access],
      [3, setLeaf],
      [4, xchgLeaf],
      [3, age],
      [1, writeDisk],
      [2, broadcast],
      [2, invalidate],
      [2, loadRoot],
      [2, freeNamed],
      [1, gone],
    ],
  },
  lookups: {
    tables: true,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [4, lookup],
      [4, setEntry],
      [3, xchgEntry],
      [2, freeNamed],
      [2, allocTable],
      [1, mapPage],
      [1, putRef],
    ],
  },
  folios: {
    tables: true,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [3, lookup],
      [4, setEntry],
      [6, folio],
      [1, freeNamed],
      [1, putRef],
    ],
  },
  guests: {
    tables: true,
    pointers: 1,
    actors: [1, 2],
    length: [1, 3],
    statements: [...tableStatements, [1, ipi], [1, irqOff(write, setEntry)]],
    handlers: [
      [3, invalidate],
      [1, write],
    ],
    host: [
      [3, schedOut],
      [2, flushGuest],
      [3, vmEntry],
      [1, guestRoot],
      [1, setEntry],
      [1, freeNamed],
    ],
  },
  shootdowns: {
    tables: true,
    pointers: 1,
    actors: [2, 3],
    length: [1, 3],
    statements: [...tableStatements, [6, ipi], [4, irqOff(readEntry, setEntry, read)]],
    handlers: [
      [3, invalidate],
      [1, loadRoot],
      [1, lazy],
    ],
  },
  rcu: {
    pointers: 2,
    frames: true,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [3, rcu(fetch, derefRead, write, read)],
      [3, callRcu],
      [2, () => ({ op: 'synchronize' })],
      [1, irqOff(read, write)],
      [1, preemptOff(fetch, derefRead)],
      [1, write],
      [1, read],
      [1, swapPointer],
      [1, free],
      [0.2, () => ({ op: 'rcu-unlock' })],
    ],
    callbacks: [
      [3, write],
      [2, (r) => ({ op: 'free-named', frame: r.of(['X', 'Y']) })],
      [1, read],
    ],
  },
  walkers: guestFamily({ read, write, locked }),
  retries: retryFamily({ read, write, cas, locked, condition }),
  srcu: srcuFamily({ read, write, wait, locked, rcu }),
  rcuTree: {
    actors: [2, 2], // a grace period has many steps
    length: [1, 2],
    statements: [
      [4, rcu(write, read)],
      [4, treeCallRcu],
      [2, () => ({ op: 'tree-synchronize' })],
      [3, irqOff(read, write)],
      [2, preemptOff(read, write)],
      [1, write],
      [1, read],
    ],
    callbacks: [
      [3, write],
      [1, read],
    ],
  },
  halves: {
    split: true,
    tables: true,
    pointers: 1,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [4, readHalves],
      [6, writeHalf],
      [2, xchgLow],
      [2, readEntry],
      [1, setEntry],
      [2, xchgEntry],
      [1, derefRead],
      [2, lookup],
      [1, invalidate],
      [0.5, loadRoot],
      [0.5, freeNamed],
      [0.5, gone],
      [0.5, branch(writeHalf, readHalves)],
    ],
  },
  slabs: {
    slab: true,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [3, slabFree],
      [3, () => ({ op: 'slab-alloc' })],
      [3, slabRead],
      [2, slabWrite],
      [1, rcu(slabRead, slabWrite)],
    ],
  },
  checks: {
    checks: true,
    actors: [2, 3],
    length: [1, 4],
    statements: [
      [4, write],
      [1, read],
      [1, cas],
      [1, wait],
      [1, add],
    ],
  },
  observers: {
    observers: true,
    actors: [2, 3],
    length: [1, 3],
    statements: [
      [4, write],
      [1, read],
      [1, cas],
      [1, wait],
      [1, several],
    ],
  },
};
