import { describe, expect, test } from 'vitest';
import { join } from '../../src/machine/ops/control.ts';
import { read_entry, write_entry } from '../../src/machine/ops/memory.ts';
import { allocate_frame, free_frame } from '../../src/machine/ops/pages.ts';
import { rcu_nest, wait_grace_period } from '../../src/machine/ops/rcu.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';
import { found } from './found.ts';

const cpus = ['CPU0', 'CPU1'];

/** The reader walks to the leaf table as lockless walkers do. */
function* walk({ place }: Mapped) {
  const pmd = yield* read_entry(place(1));
  if (!pmd.present) return;
  yield* read_entry({ frame: pmd.frame, generation: pmd.generation, index: 0 });
}

function* unlink({ place, none }: Mapped) {
  yield* write_entry(place(0), none);
  yield* write_entry(place(1), none);
}

describe('use after free', () => {
  test('a walker reads a table that was freed behind it', () => {
    const m = mapX({ cpus });
    const program = tasks(
      m.machine,
      () => walk(m),
      function* () {
        yield* unlink(m);
        yield* free_frame(m.tables[0]!);
        yield* free_frame(m.X);
      },
    );
    expect(found(program)).toEqual(['use-after-free: CPU0 uses pte[0] after CPU1 has freed pte.']);
  });

  test('a walker reads a table that was handed out again', () => {
    const m = mapX({ cpus });
    const program = tasks(
      m.machine,
      () => walk(m),
      function* () {
        yield* unlink(m);
        yield* free_frame(m.X);
        yield* free_frame(m.tables[0]!);
        return yield* allocate_frame({ what: 'new', level: -1, recycle: true });
      },
    );
    expect(found(program)).toContain(
      'use-after-free: CPU0 uses pte[0] through a pointer from before CPU1 freed pte, which was handed out again.',
    );
  });

  test('nothing is found if the table is freed after a grace period that the walker holds up', () => {
    const m = mapX({ cpus });
    const program = tasks(
      m.machine,
      function* () {
        yield* rcu_nest(1);
        yield* walk(m);
        yield* rcu_nest(-1);
      },
      function* () {
        yield* unlink(m);
        yield* wait_grace_period();
        yield* free_frame(m.tables[0]!);
        yield* free_frame(m.X);
      },
    );
    expect(found(program)).toEqual([]);
  });

  test('nothing is found if the frame is used through the pointer of its new owner', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* unlink(m);
      yield* free_frame(m.X);
      yield* free_frame(m.tables[0]!);
      const page = yield* allocate_frame({ what: 'new', level: -1, recycle: true });
      yield* write_entry({ ...page, index: 0 }, m.none);
      return page;
    });
    expect(found(program)).toEqual([]);
  });
});

describe('double free', () => {
  test('two CPUs free the same frame', () => {
    const m = mapX({ cpus });
    const program = tasks(
      m.machine,
      function* () {
        yield* write_entry(m.place(0), m.none);
        yield* free_frame(m.X);
      },
      () => free_frame(m.X),
    );
    expect(found(program)).toEqual([
      'double-free: CPU0 frees X, which has been freed already.',
      'double-free: CPU1 frees X, which has been freed already.',
    ]);
  });

  test('a frame that somebody else has by now is freed through the old pointer', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* write_entry(m.place(0), m.none);
      yield* free_frame(m.X);
      const page = yield* allocate_frame({ what: 'new', level: -1, recycle: true });
      yield* free_frame(m.X);
      return page;
    });
    expect(found(program)).toEqual(['double-free: CPU0 frees X, which has been freed already.']);
  });

  test('nothing is found if each frees what it allocated, though it be the same frame', () => {
    const m = mapX({ cpus });
    function* user() {
      yield* free_frame(yield* allocate_frame({ what: 'own', level: -1, recycle: true }));
    }
    const program = tasks(m.machine, user, function* () {
      yield* join(0);
      yield* user();
    });
    expect(found(program)).toEqual([]);
  });
});
