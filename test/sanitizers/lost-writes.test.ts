import { describe, expect, test } from 'vitest';
import { access_load, access_store } from '../../src/machine/ops/access.ts';
import { join } from '../../src/machine/ops/control.ts';
import { storeOnDisk, write_disk } from '../../src/machine/ops/disk.ts';
import { WRITE_ONCE, read_entry, write_entry, xchg_entry } from '../../src/machine/ops/memory.ts';
import { free_frame } from '../../src/machine/ops/pages.ts';
import { broadcast_complete } from '../../src/machine/ops/tlb.ts';
import { keepStores } from '../../src/machine/user-stores.ts';
import type { Entry } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';
import type { Program } from '../../src/explore/run.ts';
import { found } from './found.ts';

const DIRTY = 1n << 6n;
const ACCESSED = 1n << 5n;
const WRITABLE = 1n << 1n;

/** What is lost; who holds X is none of these tests' business. */
function lost(program: Program): string[] {
  return found(program).filter((text) => text.startsWith('lost'));
}

/** X is mapped at 0 on the one CPU, which runs the address space. */
function mapped(cpus = ['CPU0']): Mapped {
  return mapX({ cpus, loaded: [0] });
}

function entry(m: Mapped, set: bigint, clear: bigint): Entry {
  return m.machine.memory.entry((m.linked(0).bits | set) & ~clear, 1, 0);
}

describe('not on disk', () => {
  const LOST = 'lost-write: X is clean, but what was stored to it last is not on disk.';

  function ofFile(cpus?: string[]): Mapped {
    const m = mapped(cpus);
    storeOnDisk(m.machine, m.X);
    m.machine.cells.settle();
    return m;
  }

  test('the dirty mark of the only entry is taken away', () => {
    const m = ofFile();
    const program = tasks(m.machine, function* () {
      yield* access_store(m.root, 0, 5n);
      yield* xchg_entry(m.place(0), entry(m, 0n, DIRTY | WRITABLE));
    });
    expect(lost(program)).toEqual([LOST]);
  });

  test('nothing is found while the entry is marked', () => {
    const m = ofFile();
    expect(lost(tasks(m.machine, () => access_store(m.root, 0, 5n)))).toEqual([]);
  });

  test('nothing is found if the page is dirty', () => {
    const m = ofFile();
    const program = tasks(m.machine, function* () {
      yield* access_store(m.root, 0, 5n);
      yield* xchg_entry(m.place(0), entry(m, 0n, DIRTY | WRITABLE));
      yield* WRITE_ONCE(m.machine.memory.info(m.X.frame).fields.PG_dirty, 1);
    });
    expect(lost(program)).toEqual([]);
  });

  function saved(value: bigint): string[] {
    const m = ofFile();
    const program = tasks(m.machine, function* () {
      yield* access_store(m.root, 0, 5n);
      yield* xchg_entry(m.place(0), m.none);
      yield* broadcast_complete(null, null, null, true);
      yield* write_disk(m.X, value);
      yield* free_frame(m.X);
    });
    return lost(program);
  }

  test('a page is freed whose contents are not on disk', () => {
    expect(saved(4n)).toEqual([
      'lost-write: X is freed, but what was stored to it last is not on disk.',
    ]);
  });

  test('nothing is found if they are', () => {
    expect(saved(5n)).toEqual([]);
  });
});

describe('a store that its address does not show', () => {
  function replaced(copy: (m: Mapped) => Steps<unknown>): string[] {
    const m = mapped(['CPU0', 'CPU1']);
    keepStores(m.machine, m.root, 0);
    m.machine.cells.settle();
    return lost(
      tasks(
        m.machine,
        () => access_store(m.root, 0, 5n),
        function* () {
          yield* xchg_entry(m.place(0), m.none);
          yield* broadcast_complete(null, null, null, true);
          yield* copy(m);
        },
      ),
    );
  }

  const toOther = (m: Mapped): Entry =>
    m.machine.memory.entry(m.machine.arch.leaf(0, m.tables[2]!.frame, { writable: true }), 1, 0);

  test('another page is mapped, without it', () => {
    expect(replaced((m) => write_entry(m.place(0), toOther(m)))).toEqual([
      'lost-write: 0x0 shows pud, which does not say what was stored there last.',
    ]);
  });

  test('of two addresses of one page, in the order of a store buffer', () => {
    const m = mapX({ cpus: ['CPU0'], loaded: [0], model: 'tso' });
    const second = { ...m.tables[0]!, index: 1 };
    m.machine.memory.storeWide(m.machine.memory.resolve(second), m.linked(0));
    for (const address of [0, 0x1000]) keepStores(m.machine, m.root, address);
    m.machine.cells.settle();
    const program = tasks(m.machine, function* () {
      yield* access_store(m.root, 0, 5n);
      yield* access_store(m.root, 0x1000, 5n);
      yield* xchg_entry(second, toOther(m));
    });
    expect(lost(program)).toEqual([
      'lost-write: 0x1000 shows pud, which does not say what was stored there last.',
    ]);
  });

  test('nothing is found if the same page is mapped again', () => {
    expect(replaced((m) => write_entry(m.place(0), m.linked(0)))).toEqual([]);
  });
});

describe('lost dirty marks', () => {
  const LOST =
    'lost-dirty: CPU1 stores over pte[0], in which hardware has set the dirty mark of X meanwhile.';

  /** CPU1 clears the accessed mark while CPU0 stores. */
  function aging(clear: (m: Mapped) => Steps<unknown>): string[] {
    const m = mapped(['CPU0', 'CPU1']);
    return lost(
      tasks(
        m.machine,
        () => access_store(m.root, 0, 5n),
        () => clear(m),
      ),
    );
  }

  test('by a load and a store', () => {
    const clear = function* (m: Mapped) {
      const { bits } = yield* read_entry(m.place(0));
      yield* write_entry(m.place(0), m.machine.memory.entry(bits & ~ACCESSED, 1, 0));
    };
    expect(aging(clear)).toEqual([LOST]);
  });

  test('nothing is found by an exchange', () => {
    expect(aging((m) => xchg_entry(m.place(0), entry(m, 0n, ACCESSED)))).toEqual([]);
  });

  test('nothing is found by a store of who has read the mark', () => {
    const m = mapped();
    const program = tasks(m.machine, function* () {
      yield* access_store(m.root, 0, 5n);
      yield* read_entry(m.place(0));
      yield* write_entry(m.place(0), entry(m, 0n, DIRTY));
    });
    expect(lost(program)).toEqual([]);
  });
});

describe('who knows of a dirty mark', () => {
  test('is told apart among more actors than a word has bits', () => {
    const m = mapped(Array.from({ length: 34 }, (_, at) => `CPU${at}`));
    const idle = function* (): Steps<void> {};
    const program = tasks(
      m.machine,
      () => access_store(m.root, 0, 5n),
      function* () {
        yield* join(0);
        yield* read_entry(m.place(0));
      },
      ...Array.from({ length: 31 }, () => idle),
      function* () {
        yield* join(1);
        yield* write_entry(m.place(0), entry(m, 0n, DIRTY));
      },
    );
    expect(lost(program)).toEqual([
      'lost-dirty: CPU33 stores over pte[0], in which hardware has set the dirty mark of X meanwhile.',
    ]);
  });

  test('still knows it when hardware sets the other mark', () => {
    const m = mapped(['CPU0', 'CPU1']);
    m.machine.memory.storeWide(
      m.machine.memory.resolve(m.place(0)),
      entry(m, 0n, DIRTY | ACCESSED),
    );
    m.machine.cells.settle();
    const program = tasks(
      m.machine,
      function* () {
        yield* access_store(m.root, 0, 5n);
        yield* xchg_entry(m.place(0), entry(m, DIRTY, ACCESSED));
        yield* broadcast_complete(null, null, null, true);
        yield* access_load(m.root, 0);
      },
      function* () {
        const { bits } = yield* read_entry(m.place(0));
        if ((bits & DIRTY) === 0n) return;
        yield* write_entry(m.place(0), m.machine.memory.entry(bits & ~DIRTY, 1, 0));
      },
    );
    expect(lost(program)).toEqual([]);
  });
});

describe('accesses of user code', () => {
  test('an entry that was cleared and not flushed is used, or the access faults', () => {
    const m = mapped();
    const seen = new Set<unknown>();
    const program = tasks(m.machine, function* () {
      yield* write_entry(m.place(0), m.none);
      seen.add((yield* access_load(m.root, 0)) === null ? 'fault' : 'X');
    });
    expect(lost(program)).toEqual([]);
    expect(seen).toEqual(new Set(['fault', 'X']));
  });

  test('through a translation that is not marked dirty, a store looks at the entry again', () => {
    const m = mapped();
    const seen = new Set<unknown>();
    const program = tasks(m.machine, function* () {
      yield* write_entry(m.place(0), m.none);
      seen.add(yield* access_store(m.root, 0, 5n));
    });
    expect(lost(program)).toEqual([]);
    expect(seen).toEqual(new Set([false]));
  });

  test('a page and a table that were freed', () => {
    const m = mapped();
    const program = tasks(m.machine, function* () {
      yield* free_frame(m.tables[0]!);
      yield* free_frame(m.X);
      yield* access_load(m.root, 0);
    });
    expect(found(program)).toEqual([
      "stale-translation: X is freed while CPU0's TLB may still map 0x0 to it.",
      "stale-translation: pte is freed while CPU0's walk cache still leads to table pte.",
      'use-after-free: CPU0 uses 0x0 after CPU0 has freed X.',
      'use-after-free: CPU0 uses pte[0] after CPU0 has freed pte.',
    ]);
  });
});
