import { describe, expect, test } from 'vitest';
import { joined, type EntryHalf } from '../../src/machine/halves.ts';
import type { Entry, Page } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import {
  entry_relied_on,
  read_high,
  read_low,
  write_high,
  write_low,
  xchg_low,
} from '../../src/machine/ops/halves.ts';
import { read_entry, write_entry, xchg_entry } from '../../src/machine/ops/memory.ts';
import { page_ref_get, page_ref_put, settle_claim } from '../../src/machine/ops/pages.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';
import { found } from './found.ts';

const cpus = ['CPU0', 'CPU1'];

/** What two halves that were read say together. */
function put(m: Mapped, low: EntryHalf, high: EntryHalf, level = 0): Entry {
  const { bits, generation } = joined(low.of, high.of);
  return m.machine.memory.entry(bits, generation, level);
}

function* load(m: Mapped): Steps<Entry> {
  const low = yield* read_low(m.place(0));
  return put(m, low, yield* read_high(m.place(0)));
}

/** Maps X where nothing was, in either order. */
function* set(m: Mapped, first: 'low' | 'high'): Steps<void> {
  if (first === 'low') yield* write_low(m.place(0), m.linked(0));
  yield* write_high(m.place(0), m.linked(0));
  if (first === 'high') yield* write_low(m.place(0), m.linked(0));
}

function unmapped(loaded: readonly number[] = []): Mapped {
  const m = mapX({ cpus, loaded, pae: true });
  m.machine.memory.storeWide(m.machine.memory.resolve(m.place(0)), m.none);
  return m;
}

const TORN = 'an entry that nobody stored: its halves, of two entries, name';

describe('an entry that is set while it is read', () => {
  test('low half first: the reader puts together what nobody stored', () => {
    const m = unmapped();
    const reader = function* (): Steps<void> {
      yield* entry_relied_on(yield* load(m), 'believes');
    };
    const program = tasks(m.machine, reader, () => set(m, 'low'));
    expect(found(program)).toEqual([`torn-entry: CPU0 believes ${TORN} frame 0x5000.`]);
  });

  test('high half first: it does not, if it reads the low half first', () => {
    const m = unmapped();
    const reader = function* (): Steps<void> {
      yield* entry_relied_on(yield* load(m), 'believes');
    };
    expect(found(tasks(m.machine, reader, () => set(m, 'high')))).toEqual([]);
  });

  test('hardware sees the half that is stored, if it can walk there', () => {
    const found_by = (first: 'low' | 'high', loaded: number[]): string[] => {
      const m = unmapped(loaded);
      return found(tasks(m.machine, () => set(m, first)));
    };
    expect(found_by('low', [1])).toEqual([
      'torn-entry: CPU1 can walk an entry that is half stored by CPU0 and names frame 0x5000.',
    ]);
    expect(found_by('low', [])).toEqual([]);
    expect(found_by('high', [1])).toEqual([]);
  });
});

describe('X is unmapped and mapped again while the halves of its entry are read', () => {
  function* again(m: Mapped): Steps<void> {
    yield* xchg_entry(m.place(0), m.none);
    yield* set(m, 'high');
  }

  /** `trusting`: what is done with an entry that was not compared with another load. */
  function* lookup(m: Mapped, trusting: boolean): Steps<Page | null> {
    const entry = yield* load(m);
    if (!entry.present) return null;
    const page = m.machine.memory.page(entry.frame, entry.generation);
    if (!(yield* page_ref_get(page, true, { root: m.root, address: 0 }))) return null;
    const same = trusting || (yield* read_entry(m.place(0))).bits === entry.bits;
    yield* settle_claim(same ? page : null);
    if (!same) yield* page_ref_put(page);
    return same ? page : null;
  }

  /** Somebody has a reference on the page whose frame number is the low half of X's. */
  function withZ(): Mapped {
    const m = mapX({ cpus, pae: true });
    const { memory, cells } = m.machine;
    const Z = memory.frame('Z');
    memory.numbers.choose(Z.index, 0x5000, 'Z');
    cells.values[Z.refcount.cell] = 1;
    return m;
  }

  test('the page of the torn entry is returned', () => {
    const m = withZ();
    const program = tasks(
      m.machine,
      () => lookup(m, true),
      () => again(m),
    );
    expect(found(program)).toContain(`torn-entry: CPU0 returns the page of ${TORN} Z.`);
  });

  test('a reference on it and another look are no mistake', () => {
    const m = withZ();
    const program = tasks(
      m.machine,
      () => lookup(m, false),
      () => again(m),
    );
    expect(found(program)).toEqual([]);
  });

  test('an entry made of it is stored', () => {
    const m = withZ();
    const writer = function* (): Steps<void> {
      const entry = yield* load(m);
      if (entry.present) yield* write_entry(m.place(0), entry);
    };
    expect(found(tasks(m.machine, writer, () => again(m)))).toEqual([
      `torn-entry: CPU0 stores to pte[0] what it made of ${TORN} Z.`,
    ]);
  });

  test('one that was exchanged by its low half is whole for who looks at that half', () => {
    const m = withZ();
    const program = tasks(m.machine, function* () {
      const old = yield* xchg_low(m.place(0), m.none);
      yield* write_high(m.place(0), m.none);
      yield* set(m, 'high');
      yield* entry_relied_on(yield* load(m), 'believes');
      return old.bits;
    });
    expect(found(program)).toEqual([]);
  });
});

test('a table that a torn entry points to is not followed', () => {
  const m = mapX({ cpus, pae: true });
  const T = m.tables[0]!;
  m.machine.memory.numbers.choose(T.frame, 0x105000 + 1, 'pteA');
  const linked = m.machine.memory.entry(m.machine.arch.table(1, T.frame), 1, 1);
  m.machine.memory.storeWide(m.machine.memory.resolve(m.place(1)), linked);
  const walker = function* (): Steps<void> {
    const low = yield* read_low(m.place(1));
    const { frame, generation, table } = put(m, low, yield* read_high(m.place(1)), 1);
    if (table) yield* read_low({ frame, generation, index: 0 });
  };
  const program = tasks(m.machine, walker, function* () {
    yield* xchg_entry(m.place(1), m.none);
    yield* write_high(m.place(1), linked);
    yield* write_low(m.place(1), linked);
  });
  expect(found(program)).toEqual([`torn-entry: CPU0 follows ${TORN} frame 0x5001.`]);
});
