import { describe, expect, test } from 'vitest';
import { NO_ENTRY, pointer_to } from '../../src/kernel/mm/page-ref.ts';
import { follow_pointer } from '../../src/machine/ops/follow.ts';
import { add_word, read_entry, write_entry } from '../../src/machine/ops/memory.ts';
import {
  page_ref_freeze,
  page_ref_get,
  page_ref_put,
  page_ref_unfreeze,
  settle_claim,
} from '../../src/machine/ops/pages.ts';
import { mapX, tasks } from '../zoo/tables.ts';
import { found } from './found.ts';

const cpus = ['CPU0', 'CPU1'];

describe('taking all references at once', () => {
  test('nobody can take one until they are given back', () => {
    const m = mapX({ cpus });
    const program = tasks(
      m.machine,
      function* () {
        if (yield* page_ref_freeze(m.X, 1)) yield* page_ref_unfreeze(m.X, 1);
      },
      function* () {
        if (yield* page_ref_get(m.X, true, null)) yield* page_ref_put(m.X);
      },
    );
    expect(found(program)).toEqual([]);
  });

  test('a reference is taken without looking whether there is one', () => {
    const m = mapX({ cpus });
    const program = tasks(
      m.machine,
      function* () {
        if (yield* page_ref_freeze(m.X, 1)) yield* page_ref_unfreeze(m.X, 1);
      },
      function* () {
        yield* page_ref_get(m.X, false, null);
        yield* page_ref_put(m.X);
      },
    );
    expect(found(program)).toContain(
      'refcount: CPU0 unfreezes X, of which somebody has taken a reference.',
    );
  });

  test('there are none', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* write_entry(m.place(0), m.none);
      yield* page_ref_put(m.X);
      yield* page_ref_freeze(m.X, 0);
    });
    expect(found(program)).toEqual(['refcount: CPU0 freezes X, which nobody holds.']);
  });

  test('more are dropped than there are', () => {
    const m = mapX({ cpus });
    const program = tasks(m.machine, function* () {
      yield* page_ref_put(m.X, 2);
    });
    expect(found(program)).toEqual(['refcount: CPU0 drops 2 references on X, which has only 1.']);
  });
});

describe('pointers', () => {
  test('NULL is followed', () => {
    const { machine } = mapX({ cpus });
    const program = tasks(machine, () => follow_pointer('mapping->a_ops', 0));
    expect(found(program)).toEqual([
      'null-dereference: CPU0 reads mapping->a_ops through a NULL pointer.',
    ]);
  });

  test('any other pointer is', () => {
    const { machine } = mapX({ cpus });
    expect(found(tasks(machine, () => follow_pointer('mapping->a_ops', 8)))).toEqual([]);
  });

  test('an empty entry is taken for one that points to a table', () => {
    const { machine } = mapX({ cpus });
    const place = { frame: 0, generation: 0, index: 1, level: 0 };
    expect(found(tasks(machine, () => read_entry(place)))).toEqual([
      'null-dereference: CPU0 reads the table of an empty entry through a NULL pointer.',
    ]);
  });

  test('a page is taken for a page table, a table for what it is', () => {
    const m = mapX({ cpus });
    function* read(of: typeof m.X, level: number) {
      yield* read_entry({ ...of, index: 0, level });
    }
    const [table] = m.tables;
    expect(found(tasks(m.machine, () => read(m.X, 0)))).toEqual([
      'wrong-page: CPU0 takes X for a page table, which it is not.',
    ]);
    const other = mapX({ cpus });
    expect(found(tasks(other.machine, () => read(table!, 0)))).toEqual([]);
    const upper = mapX({ cpus });
    expect(found(tasks(upper.machine, () => read(table!, 1)))).toEqual([
      'wrong-page: CPU0 takes pte for a page table, which it is not.',
    ]);
  });
});

describe('a word of the kernel that holds a page', () => {
  test.each([true, false])('its reference is explained: %s', (holds) => {
    const m = mapX({ cpus });
    const word = m.machine.memory.pointer('slot');
    m.machine.objects.set('holders', [word]);
    const program = tasks(m.machine, function* () {
      yield* page_ref_get(m.X, true, null);
      yield* write_entry(word, holds ? pointer_to(m.X) : NO_ENTRY);
    });
    expect(found(program)).toEqual(
      holds ? [] : ['leak: X is left behind: 2 references, of which 1 have a holder.'],
    );
  });
});

describe('pins', () => {
  /** Pins X as GUP does: a large page by its own counter, a small one by many references. */
  function pinned(large: boolean, counts: boolean) {
    const m = mapX({ cpus });
    const { fields, refcount } = m.machine.memory.info(m.X.frame);
    m.machine.cells.values[fields.PG_head.cell] = large ? 1 : 0;
    return tasks(m.machine, function* () {
      yield* page_ref_get(m.X, true, { root: m.root, address: 0, pin: true });
      if (counts && large) yield* add_word(fields._pincount, 1);
      if (counts && !large) yield* add_word(refcount, 1023);
      return yield* settle_claim(m.X);
    });
  }

  test.each([true, false])('that are returned explain what was counted; large: %s', (large) => {
    expect(found(pinned(large, true))).toEqual([]);
  });

  test('a large page, of which nobody has counted the pin', () => {
    expect(found(pinned(true, false))).toEqual([
      'leak: X is left behind: 0 pins, which are not those that were returned.',
    ]);
  });

  test('a small page with a reference instead of a pin', () => {
    expect(found(pinned(false, false))).toEqual(['refcount: X has 2 references for 1025 holders.']);
  });
});
