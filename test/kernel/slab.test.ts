import { describe, expect, test } from 'vitest';
import * as linux from '../../src/kernel/index.ts';
import { explore, type Engine } from '../../src/explore/explore.ts';
import type { Machine } from '../../src/machine/machine.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { found } from '../sanitizers/found.ts';
import { outcomesOf } from '../compare/outcomes.ts';
import { mapX, tasks } from '../zoo/tables.ts';

type Foo = linux.SlabObject<'a' | 'b'>;

interface Setting {
  readonly machine: Machine;
  readonly cache: linux.KmemCache<'a' | 'b'>;
  /** Two objects that are allocated when the program begins. */
  readonly A: Foo;
  readonly B: Foo;
  /** How often the constructor has run. */
  readonly constructed: Word;
}

function setting(options: { readonly typesafe: boolean; readonly objects?: number }): Setting {
  const { machine } = mapX({ cpus: ['CPU0', 'CPU1'] });
  const constructed = machine.memory.variable('constructed');
  const cache = linux.kmem_cache_create('foo', ['a', 'b'], {
    SLAB_TYPESAFE_BY_RCU: options.typesafe,
    objects: options.objects ?? 1,
    *ctor({ b }) {
      yield* linux.WRITE_ONCE(b, 7);
      yield* linux.fetch_add(constructed, 1);
    },
  });
  const A = linux.new_object(machine, cache, 'A', { a: 1, b: 7 });
  const B = linux.new_object(machine, cache, 'B', { a: 2, b: 7 });
  return { machine, cache, A, B, constructed };
}

/** Everything that the first task can return. */
function returns({ machine }: Setting, ...bodies: readonly (() => Steps<unknown>)[]): string[] {
  const seen = new Set<string>();
  explore(tasks(machine, ...bodies), {
    ended: (run) => void seen.add(String(run.nodes[0]?.result)),
  });
  return [...seen].sort();
}

const nameOf = ({ machine }: Setting, object: Foo): string =>
  machine.memory.info(object.frame).name;

describe.each([{ typesafe: false }, { typesafe: true }])('a cache ($typesafe)', (kind) => {
  test('hands out a freed object again, or one of a new slab', () => {
    const s = setting(kind);
    function* reuse() {
      yield* linux.kmem_cache_free(s.cache, s.A);
      const object = yield* linux.kmem_cache_alloc(s.cache);
      return `${nameOf(s, object)} ${yield* linux.READ_ONCE(object.a)}`;
    }
    expect(returns(s, reuse)).toEqual(['A 1', 'foo@CPU0 0']); // what A held is still there
  });

  test('never hands out one object twice', () => {
    const s = setting(kind);
    function* twice() {
      yield* linux.kmem_cache_free(s.cache, s.A);
      const first = yield* linux.kmem_cache_alloc(s.cache);
      const second = yield* linux.kmem_cache_alloc(s.cache);
      return `${nameOf(s, first)} ${nameOf(s, second)}`;
    }
    expect(returns(s, twice)).toEqual(['A foo@CPU0', 'foo@CPU0 A', 'foo@CPU0 foo2@CPU0']);
  });

  test('runs the constructor once per object of a new slab', () => {
    const s = setting({ ...kind, objects: 2 });
    function* count() {
      const first = yield* linux.kmem_cache_alloc(s.cache);
      yield* linux.WRITE_ONCE(first.b, 8);
      yield* linux.kmem_cache_free(s.cache, first);
      const again = yield* linux.kmem_cache_alloc(s.cache);
      const b = yield* linux.READ_ONCE(again.b);
      return `${again.frame === first.frame ? 'again' : 'other'} ${b} ${yield* linux.READ_ONCE(s.constructed)}`;
    }
    expect(returns(s, count)).toEqual(['again 8 2', 'other 7 2', 'other 7 4']);
  });

  test('tells of an object that is freed twice', () => {
    const s = setting(kind);
    const program = tasks(
      s.machine,
      () => linux.kmem_cache_free(s.cache, s.A),
      () => linux.kmem_cache_free(s.cache, s.A),
    );
    expect(found(program)).toEqual([
      'double-free: CPU0 frees A, which has been freed already.',
      'double-free: CPU1 frees A, which has been freed already.',
    ]);
  });

  test('keeps a slab in which another object lives', () => {
    const s = setting({ ...kind, objects: 2 });
    function* neighbour() {
      const first = yield* linux.kmem_cache_alloc(s.cache);
      const second = yield* linux.kmem_cache_alloc(s.cache);
      yield* linux.kmem_cache_free(s.cache, first);
      yield* linux.READ_ONCE(second.a);
      yield* linux.kmem_cache_free(s.cache, second);
    }
    expect(found(tasks(s.machine, neighbour))).toEqual([]);
  });

  test.each([
    [
      'recycled behind a reader',
      (s: Setting) => [
        function* () {
          yield* linux.kmem_cache_free(s.cache, s.A);
          return nameOf(s, yield* linux.kmem_cache_alloc(s.cache));
        },
        () => linux.READ_ONCE(s.A.a),
      ],
    ],
    [
      'freed on two CPUs',
      (s: Setting) => [
        () => linux.kmem_cache_free(s.cache, s.A),
        () => linux.kmem_cache_free(s.cache, s.B),
      ],
    ],
    [
      'freed here, allocated there',
      (s: Setting) => [
        () => linux.kmem_cache_free(s.cache, s.A),
        () => linux.kmem_cache_alloc(s.cache),
      ],
    ],
  ] as const)('is explored by reduction as by plain enumeration: %s', (_what, bodies) => {
    const explored = (engine: Engine) => {
      const s = setting(kind);
      const program = tasks(s.machine, ...bodies(s));
      return outcomesOf({ ...program, seen: new Set() }, engine, { maxRuns: 20_000 });
    };
    const plain = explored('plain');
    const reduced = explored('source');
    expect(plain.stopped).toBeNull();
    expect(plain.runs).toBeGreaterThan(reduced.runs);
    expect(reduced.finals).toEqual(plain.finals);
    expect(reduced.violations).toEqual(plain.violations);
    expect(reduced.classes).toEqual(plain.classes);
    expect(plain.disagreements).toEqual([]);
  });
});

test('two objects of one name are refused', () => {
  const { machine, cache } = setting({ typesafe: true });
  expect(() => linux.new_object(machine, cache, 'A', {})).toThrow('there are two objects called A');
});

describe('a pointer to a freed object', () => {
  function* free(s: Setting) {
    yield* linux.kmem_cache_free(s.cache, s.A);
  }

  test('dangles in an ordinary cache', () => {
    const s = setting({ typesafe: false });
    const program = tasks(
      s.machine,
      () => linux.READ_ONCE(s.A.a),
      () => free(s),
    );
    expect(found(program)).toEqual(['use-after-free: CPU0 uses A->a after CPU1 has freed A.']);
  });

  test('dangles in an ordinary cache though the object was handed out again', () => {
    const s = setting({ typesafe: false });
    const program = tasks(
      s.machine,
      () => linux.READ_ONCE(s.A.a),
      function* () {
        yield* free(s);
        const object = yield* linux.kmem_cache_alloc(s.cache);
        yield* linux.WRITE_ONCE(object.a, 5);
      },
    );
    expect(found(program)).toContain(
      'use-after-free: CPU0 uses A->a through a pointer from before CPU1 freed A, which was handed out again.',
    );
  });

  test('leads to whatever the object has become in a type-stable cache', () => {
    const s = setting({ typesafe: true });
    function* reader() {
      yield* linux.rcu_read_lock();
      const a = yield* linux.READ_ONCE(s.A.a);
      yield* linux.rcu_read_unlock();
      return a;
    }
    function* updater() {
      yield* linux.rcu_read_lock(); // so that the slab outlives the reader
      yield* free(s);
      const object = yield* linux.kmem_cache_alloc(s.cache);
      yield* linux.WRITE_ONCE(object.a, 5);
      yield* linux.rcu_read_unlock();
    }
    expect(returns(s, reader, updater)).toContain('5');
  });

  test('dangles in a type-stable cache when its slab has gone, after a grace period', () => {
    const s = setting({ typesafe: true });
    const messages = found(
      tasks(
        s.machine,
        () => linux.READ_ONCE(s.A.a), // after the grace period, or in no section
        () => free(s),
      ),
    );
    expect(messages).toEqual(['use-after-free: CPU0 uses A->a after an RCU callback has freed A.']);
  });
});
