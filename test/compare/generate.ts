import {
  PAGES,
  type ActorSpec,
  type CheckSpec,
  type Condition,
  type LockMode,
  type Micro,
  type Scope,
  type Spec,
  type Stmt,
  type Target,
  type Value,
} from './spec.ts';

/** Makes up small programs. The same family, seed and index are the same program for ever. */

class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** Mulberry32. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  some<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }
}

type Maker = (random: Random) => Stmt;

const CONDITIONS: readonly Condition[] = [
  'all-nonzero',
  'all-zero',
  'any-nonzero',
  'equal',
  'sum',
  'above',
];

/** What a family's programs are made of. */
interface Family {
  readonly words?: number;
  readonly locks?: number;
  readonly pointers?: number;
  /** Actors, and statements of each. */
  readonly actors: readonly [number, number];
  readonly length: readonly [number, number];
  readonly statements: readonly (readonly [weight: number, make: Maker])[];
  /** Statements of handlers and callbacks. */
  readonly handlers?: readonly (readonly [weight: number, make: Maker])[];
  readonly frames?: boolean;
  readonly tables?: boolean;
  /** A host actor with these statements, and virtual CPUs. */
  readonly host?: readonly (readonly [weight: number, make: Maker])[];
  readonly shared?: boolean;
  readonly checks?: boolean;
  readonly observers?: boolean;
}

const WORDS = 3;

const word = (random: Random): number => random.below(WORDS);
const value = (random: Random): Value => ({ received: random.chance(0.4), plus: random.below(3) });
const condition = (random: Random): Condition => random.of(CONDITIONS);

function someWords(random: Random): number[] {
  const all = [0, 1, 2].filter(() => random.chance(0.6));
  return all.length > 0 ? all : [word(random)];
}

const read: Maker = (r) => ({ op: 'read', word: word(r) });
const write: Maker = (r) => ({ op: 'write', word: word(r), value: value(r) });
const xchg: Maker = (r) => ({ op: 'xchg', word: word(r), value: value(r) });
const add: Maker = (r) => ({ op: 'add', word: word(r), value: { received: false, plus: 1 } });
const cas: Maker = (r) => ({ op: 'cas', word: word(r), old: r.below(3), value: value(r) });
const addUnless: Maker = (r) => ({ op: 'add-unless', word: word(r), unless: r.below(2) });
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
const callRcu: Maker = (r) => ({ op: 'call-rcu', handler: r.below(2) });
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
  return { op: 'xchg-entry', entry: at, target: entryTarget(r, at) };
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
});
const lazy: Maker = (r) => ({ op: 'lazy', on: r.chance(0.5) });
const gone: Maker = () => ({ op: 'gone' });
const freeNamed: Maker = (r) => ({ op: 'free-named', frame: r.of(['P', 'P', 'Q', 'T', 'U', 'R']) });
const allocTable: Maker = (r) => ({ op: 'alloc', recycle: true, level: r.between(-1, 1) });

const onVcpu = (r: Random): number => r.below(2);
const schedOut: Maker = (r) => ({ op: 'sched-out', cpu: onVcpu(r) });
const flushGuest: Maker = (r) => ({ op: 'flush-guest', cpu: onVcpu(r) });
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

const FAMILIES: Readonly<Record<string, Family>> = {
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
    handlers: [
      [3, write],
      [2, (r) => ({ op: 'free-named', frame: r.of(['X', 'Y']) })],
      [1, read],
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

export const FAMILY_NAMES: readonly string[] = [...Object.keys(FAMILIES), 'mixed'];

function pick(random: Random, statements: readonly (readonly [number, Maker])[]): Stmt {
  let at = random.next() * statements.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, make] of statements) {
    at -= weight;
    if (at < 0) return make(random);
  }
  return statements[0]![1](random);
}

/** Steps that a statement takes at most, and what the actors that it creates take. */
function steps(stmt: Stmt, handlers: readonly (readonly Stmt[])[], created: number[]): number {
  const all = (body: readonly Stmt[]): number =>
    body.reduce((sum, inner) => sum + steps(inner, handlers, created), 0);
  switch (stmt.op) {
    case 'if':
      return Math.max(all(stmt.body), all(stmt.otherwise));
    case 'lock':
    case 'irq-off':
    case 'preempt-off':
    case 'rcu':
      return 2 + all(stmt.body);
    case 'broadcast':
    case 'synchronize':
      return 2;
    case 'ipi':
    case 'call-rcu': {
      const body = handlers[stmt.handler]!;
      if (created.length < 6) {
        created.push(0);
        created[created.length - 1] = all(body) + (stmt.op === 'ipi' ? 2 : 1);
      }
      return stmt.op === 'ipi' && stmt.wait ? 2 : 1;
    }
    default:
      return 1;
  }
}

/** Upper estimate of the number of interleavings. */
function interleavings(spec: Spec): number {
  const counts: number[] = [];
  for (const { body } of spec.actors) {
    counts.push(body.reduce((sum, stmt) => sum + steps(stmt, spec.handlers, counts), 0));
  }
  let total = 0;
  let ways = 1;
  for (const count of counts) {
    for (let step = 1; step <= count; step++) ways *= ++total / step;
  }
  return ways;
}

const TASK = { kind: 'task', shared: false, daemon: false } as const;

function draw(random: Random, family: string, limit: number): Spec {
  const shape = family === 'mixed' ? mixture(random) : FAMILIES[family]!;
  const count = random.between(...shape.actors);
  const body = (statements = shape.statements, length = shape.length): Stmt[] =>
    random.some(random.between(...length), () => pick(random, statements));
  const actors: ActorSpec[] = [];
  const cpuCount = shape.shared ? 2 : Math.max(2, count);
  for (let at = 0; at < count; at++) {
    const cpu = shape.shared ? (at < 2 ? 0 : random.below(2)) : at;
    actors.push({ ...TASK, cpu, shared: shape.shared ?? false, body: body() });
  }
  if (shape.shared) {
    // An actor that shares its CPU with nobody runs on it like any other.
    for (const actor of actors) {
      const alone = actors.filter(({ cpu }) => cpu === actor.cpu).length === 1;
      if (alone) actors[actors.indexOf(actor)] = { ...actor, shared: random.chance(0.5) };
    }
  }
  if (shape.host) {
    actors.push({ ...TASK, kind: 'host', cpu: -1, body: body(shape.host, [2, 4]) });
  }
  if (shape.frames && random.chance(0.4)) {
    const take: Stmt = { op: 'foreign', count: 1 };
    actors.push({ ...TASK, kind: 'host', cpu: -1, daemon: true, body: [take] });
  }
  if (shape.observers) {
    for (let at = random.between(1, 2); at > 0; at--) {
      const watch: Stmt = {
        op: 'observe',
        words: someWords(random),
        condition: condition(random),
        as: random.chance(0.5) ? 'always' : 'sometimes',
      };
      actors.push({ ...TASK, kind: 'observer', daemon: true, cpu: -1, body: [watch] });
    }
  }
  const checks: CheckSpec[] = shape.checks
    ? random.some(random.between(1, 2), () => ({
        actor: random.below(count),
        words: someWords(random),
        condition: condition(random),
      }))
    : [];
  const handlers = shape.handlers ? random.some(2, () => body(shape.handlers, [0, 2])) : [];
  const spec: Spec = {
    family,
    words: random.some(WORDS, () => (random.chance(0.7) ? 0 : 1)),
    locks: shape.locks ?? 0,
    pointers: shape.pointers ?? 0,
    cpus: random.some(cpuCount, () => ({
      virtual: shape.host ? random.chance(0.8) : false,
      root: shape.tables ? random.of(['R', 'R', 'R', 'S', null]) : null,
    })),
    actors,
    handlers,
    checks,
    mapped: shape.tables ? tables(random) : [],
    pointing: shape.frames
      ? [random.chance(0.8) ? 'X' : null, random.chance(0.5) ? random.of(['X', 'Y']) : null]
      : [],
  };
  return interleavings(spec) <= limit ? spec : draw(random, family, limit);
}

function tables(random: Random): [number, string][] {
  const mapped: [number, string][] = [[0, 'T']];
  if (random.chance(0.3)) mapped.push([1, 'U']);
  if (random.chance(0.5)) mapped.push([2, random.of(['T', 'U'])]);
  if (random.chance(0.7)) mapped.push([3, 'P']);
  if (random.chance(0.4)) mapped.push([4, random.of(PAGES)]);
  if (random.chance(0.4)) mapped.push([5, random.of(PAGES)]);
  return mapped;
}

/** Statements of two or three families in one program. */
function mixture(random: Random): Family {
  const parts = random.some(random.between(2, 3), () => random.of(Object.values(FAMILIES)));
  const host = parts.find((part) => part.host)?.host;
  return {
    locks: 2,
    pointers: 2,
    actors: [2, 3],
    length: [1, 3],
    statements: parts.flatMap((part) => part.statements),
    handlers: [...parts.flatMap((part) => part.handlers ?? []), [1, write]],
    frames: true,
    tables: true,
    shared: !host && parts.some((part) => part.shared ?? false),
    checks: parts.some((part) => part.checks ?? false),
    observers: parts.some((part) => part.observers ?? false),
    ...(host ? { host } : {}),
  };
}

/** Program `index` of a family. At most about `limit` interleavings. */
export function generate(family: string, seed: number, index: number, limit = 20_000): Spec {
  let mixed = seed >>> 0;
  for (const char of family) mixed = (Math.imul(mixed, 31) + char.charCodeAt(0)) >>> 0;
  return draw(
    new Random(Math.imul(mixed, 0x9e3779b1) + Math.imul(index + 1, 0x85ebca6b)),
    family,
    limit,
  );
}
