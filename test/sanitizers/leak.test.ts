import { describe, expect, test } from 'vitest';
import { write_entry } from '../../src/machine/ops/memory.ts';
import {
  allocate_frame,
  free_frame,
  page_ref_get,
  page_ref_put,
} from '../../src/machine/ops/pages.ts';
import { mapX, tasks } from '../zoo/tables.ts';
import { found } from './found.ts';

const cpus = ['CPU0', 'CPU1'];

describe('tables', () => {
  test('a table that was unlinked is never freed', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* write_entry(m.place(0), m.none);
      yield* free_frame(m.X);
      yield* write_entry(m.place(1), m.none);
    });
    expect(found(program)).toEqual([
      'leak: pte is left behind: a page table that no root reaches.',
    ]);
  });

  test('nothing is found if the table is freed', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* write_entry(m.place(0), m.none);
      yield* free_frame(m.X);
      yield* write_entry(m.place(1), m.none);
      yield* free_frame(m.tables[0]!);
    });
    expect(found(program)).toEqual([]);
  });

  test('nothing is found if everything stays as it was', () => {
    const m = mapX({ cpus });
    expect(found(tasks(m.machine, () => write_entry(m.place(0), m.linked(0))))).toEqual([]);
  });
});

describe('pages', () => {
  test('a page is unmapped and its reference forgotten', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, () => write_entry(m.place(0), m.none));
    expect(found(program)).toEqual([
      'leak: X is left behind: 1 references, of which 0 have a holder.',
    ]);
  });

  test('a page that was allocated is forgotten', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* allocate_frame({ what: 'page', level: -1, recycle: false });
    });
    expect(found(program)).toEqual([
      'leak: page@CPU0 is left behind: 1 references, of which 0 have a holder.',
    ]);
  });

  test('a reference that was taken is never dropped', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* page_ref_get(m.X, true, null);
    });
    expect(found(program)).toEqual([
      'leak: X is left behind: 2 references, of which 1 have a holder.',
    ]);
  });

  test('a mapping whose reference was dropped', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* page_ref_put(m.X);
    });
    expect(found(program)).toEqual(['refcount: X has 0 references for 1 holders.']);
  });

  test('a reference that nobody has is dropped', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* write_entry(m.place(0), m.none);
      if (yield* page_ref_put(m.X)) yield* free_frame(m.X);
      yield* page_ref_put(m.X);
    });
    expect(found(program)).toEqual(['refcount: CPU0 drops a reference on X, which has none.']);
  });

  test('nothing is found if the reference is returned: whoever gets it holds it', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      return (yield* page_ref_get(m.X, true, null)) ? m.X : null;
    });
    expect(found(program)).toEqual([]);
  });

  test('nothing is found if two CPUs drop their references and the last one frees', () => {
    const m = mapX({ cpus });
    const drop = function* () {
      if (yield* page_ref_put(m.X)) yield* free_frame(m.X);
    };
    const program = tasks(
      m.machine,
      function* () {
        if (yield* page_ref_get(m.X, true, null)) yield* drop();
      },
      function* () {
        yield* write_entry(m.place(0), m.none);
        yield* drop();
      },
    );
    expect(found(program)).toEqual([]);
  });

  test('a reference is taken on a page whose last one was just dropped', () => {
    const m = mapX({ cpus });
    const program = tasks(
      m.machine,
      function* () {
        yield* page_ref_get(m.X, false, null);
        if (yield* page_ref_put(m.X)) yield* free_frame(m.X);
      },
      function* () {
        yield* write_entry(m.place(0), m.none);
        if (yield* page_ref_put(m.X)) yield* free_frame(m.X);
      },
    );
    expect(found(program)).toEqual([
      'double-free: CPU0 frees X, which has been freed already.',
      'double-free: CPU1 frees X, which has been freed already.',
      'refcount: CPU0 drops a reference on X, which has none.',
    ]);
  });
});
