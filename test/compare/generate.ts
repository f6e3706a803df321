import {
  FAMILIES,
  WORDS,
  condition,
  someWords,
  write,
  type Family,
  type Maker,
} from './families.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { Random } from './random.ts';
import { PAGES, type ActorSpec, type CheckSpec, type Spec, type Stmt } from './spec.ts';

/** Makes up small programs. The same family, seed and index are the same program for ever. */

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
    case 'srcu':
      return 2 + all(stmt.body);
    case 'retry':
      return 2 * (3 + stmt.words.length + all(stmt.body));
    case 'cas-spte':
      return 2;
    case 'lookup':
      return 3 + all(stmt.body);
    case 'read-halves':
    case 'age':
    case 'broadcast':
    case 'synchronize':
    case 'synchronize-srcu':
      return 2;
    case 'ipi':
    case 'call-rcu':
    case 'call-srcu': {
      const body = handlers[stmt.handler] ?? [];
      if (created.length < 6) {
        created.push(0);
        created[created.length - 1] = all(body) + (stmt.op === 'ipi' ? 2 : 1);
      }
      return stmt.op === 'ipi' && stmt.wait ? 2 : 1;
    }
    case 'tree-call-rcu':
      growGracePeriod(created, all(handlers[stmt.handler] ?? []));
      return 2;
    case 'tree-synchronize':
      growGracePeriod(created, 0);
      return 2;
    case 'slab-alloc':
      return 3;
    case 'slab-free':
      if (created.length < 6) created.push(2);
      return 2;
    default:
      return 1;
  }
}

/** The kthread, the reports and the callback wait for each other: they count for little more than one. */
function growGracePeriod(created: number[], callback: number): void {
  if (created.length < 6) created.push(2 + callback);
}

/** Stores, and what else goes through store buffers. */
function stores(stmt: Stmt): number {
  const inner = 'body' in stmt && stmt.op !== 'several' ? stmt.body : [];
  const all = [...inner, ...(stmt.op === 'if' ? stmt.otherwise : [])];
  const own = BUFFERED.has(stmt.op) || (stmt.op === 'lock' && stmt.mode !== 'mutex') ? 1 : 0;
  return own + all.reduce((sum, each) => sum + stores(each), 0);
}

const BUFFERED: ReadonlySet<string> = new Set([
  ...['write', 'publish', 'deref-write', 'set-entry', 'map-page', 'access', 'write-half', 'age'],
  ...['irq-off', 'preempt-off', 'rcu', 'call-rcu', 'srcu', 'srcu-unlock', 'call-srcu'],
  ...['set-spte', 'guest-access'],
]);

/** Upper estimate of the number of interleavings; a rough one with store buffers. */
function interleavings(spec: Spec): number {
  const counts: number[] = [];
  for (const { body } of spec.actors) {
    counts.push(body.reduce((sum, stmt) => sum + steps(stmt, spec.handlers, counts), 0));
  }
  let total = 0;
  let ways = 1;
  if (spec.model === 'tso') {
    for (const { body } of [...spec.actors, ...spec.handlers.map((body) => ({ body }))]) {
      const flushed = body.reduce((sum, stmt) => sum + stores(stmt), 0);
      counts.push(flushed);
      ways /= 2 ** flushed; // each after it was issued
    }
  }
  for (const count of counts) {
    for (let step = 1; step <= count; step++) ways *= ++total / step;
  }
  return ways;
}

const TASK = { kind: 'task', shared: false, daemon: false } as const;

function draw(random: Random, family: string, limit: number, model: MemoryModel): Spec {
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
  const handlers = [shape.handlers, shape.handlers, shape.callbacks, shape.callbacks].map(
    (statements) => (statements ? body(statements, [0, 2]) : []),
  );
  const spec: Spec = {
    family,
    model,
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
    ...(shape.srcu ? { srcu: true } : {}),
    ...(shape.walkers ? { walkers: true } : {}),
    ...(shape.split ? { split: true } : {}),
    ...(shape.keeps ? { keeps: true } : {}),
    ...(shape.slab ? { slab: { typesafe: random.chance(0.5) } } : {}),
    pointing: shape.frames
      ? [random.chance(0.8) ? 'X' : null, random.chance(0.5) ? random.of(['X', 'Y']) : null]
      : [],
  };
  return interleavings(spec) <= limit ? spec : draw(random, family, limit, model);
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

/** Frames that a program allocates are numbered as a search meets them: their halves would be, too. */
const MIXED = Object.values(FAMILIES).filter((family) => !family.split);

/** Statements of two or three families in one program. */
function mixture(random: Random): Family {
  const parts = random.some(random.between(2, 3), () => random.of(MIXED));
  const host = parts.find((part) => part.host)?.host;
  return {
    locks: 2,
    pointers: 2,
    actors: [2, 3],
    length: [1, 3],
    statements: parts.flatMap((part) => part.statements),
    handlers: [...parts.flatMap((part) => part.handlers ?? []), [1, write]],
    callbacks: [...parts.flatMap((part) => part.callbacks ?? []), [1, write]],
    frames: true,
    tables: true,
    shared: !host && parts.some((part) => part.shared ?? false),
    slab: parts.some((part) => part.slab ?? false),
    srcu: parts.some((part) => part.srcu ?? false),
    walkers: parts.some((part) => part.walkers ?? false),
    checks: parts.some((part) => part.checks ?? false),
    observers: parts.some((part) => part.observers ?? false),
    ...(host ? { host } : {}),
  };
}

/** Program `index` of a family. At most about `limit` interleavings. */
export function generate(
  family: string,
  seed: number,
  index: number,
  limit = 20_000,
  model: MemoryModel = 'sc',
): Spec {
  let mixed = seed >>> 0;
  for (const char of family) mixed = (Math.imul(mixed, 31) + char.charCodeAt(0)) >>> 0;
  return draw(
    new Random(Math.imul(mixed, 0x9e3779b1) + Math.imul(index + 1, 0x85ebca6b)),
    family,
    limit,
    model,
  );
}
