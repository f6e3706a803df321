import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { fn } from '../../src/machine/fn.ts';
import { PAGE_SIZE, type Page, type Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { join, spin_until } from '../../src/machine/ops/control.ts';
import {
  down_read,
  down_write,
  mutex_lock,
  mutex_unlock,
  read_lock,
  read_unlock,
  spin_lock,
  spin_trylock,
  spin_unlock,
  up_read,
  up_write,
} from '../../src/machine/ops/locks.ts';
import { WRITE_ONCE, write_entry } from '../../src/machine/ops/memory.ts';
import { allocate_frame, free_frame } from '../../src/machine/ops/pages.ts';
import { csd_lock_wait, send_ipi } from '../../src/machine/ops/processor.ts';
import { queue_callback } from '../../src/machine/ops/rcu.ts';
import { build } from '../zoo/program.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';
import { found } from './found.ts';

/** A lock in page X, and what frees the page. */
interface InPage {
  readonly lock: Word;
  readonly free: () => Steps<void>;
  readonly wordIn: (page: Page) => Word;
}

function wordIn({ machine }: Mapped, { frame, generation }: Page): Word {
  return machine.memory.at(frame * PAGE_SIZE, generation, 'X->lock');
}

/** CPU0 does one thing and CPU1 another to a lock in a page; what plain enumeration finds as well. */
function inPage(...begins: readonly ((page: InPage) => Steps<unknown>)[]): string[] {
  const make = () => {
    const m = mapX({ cpus: begins.map((_, at) => `CPU${at}`) });
    const page = {
      lock: wordIn(m, m.X),
      wordIn: (other: Page) => wordIn(m, other),
      *free() {
        yield* write_entry(m.place(0), m.none);
        yield* free_frame(m.X);
      },
    };
    return tasks(m.machine, ...begins.map((begin) => () => begin(page)));
  };
  const plain = [...explore(make(), { engine: 'plain' }).violations.values()];
  const kinds = found(make());
  expect(kinds).toEqual(plain.map(({ violation: v }) => `${v.kind}: ${v.message}`).sort());
  return kinds;
}

const FREED = 'use-after-free: CPU0 uses X->lock after CPU1 has freed X.';

describe('a lock in a page that is freed', () => {
  const users: readonly (readonly [string, (lock: Word) => Steps<unknown>])[] = [
    [
      'spin_lock',
      function* (lock) {
        yield* spin_lock(lock);
        yield* spin_unlock(lock);
      },
    ],
    [
      'spin_trylock',
      function* (lock) {
        if (yield* spin_trylock(lock)) yield* spin_unlock(lock);
      },
    ],
    [
      'read_lock',
      function* (lock) {
        yield* read_lock(lock);
        yield* read_unlock(lock);
      },
    ],
    ['spin_until', (lock) => spin_until([lock], (value) => value === 0)],
  ];

  test.each(users)('%s follows the pointer', (_, use) => {
    expect(
      inPage(
        ({ lock }) => use(lock),
        ({ free }) => free(),
      ),
    ).toEqual([FREED]);
  });

  test.each(users)('%s: nothing is found if the page is freed afterwards', (_, use) => {
    const kinds = inPage(
      ({ lock }) => use(lock),
      function* ({ free }) {
        yield* join(0);
        yield* free();
      },
    );
    expect(kinds).toEqual([]);
  });

  test('unlocking it alone follows the pointer, for writing and for reading', () => {
    const kinds = (lock: (word: Word) => Steps<void>, unlock: (word: Word) => Steps<void>) =>
      inPage(function* (page) {
        yield* lock(page.lock);
        yield* page.free();
        yield* unlock(page.lock);
      });
    const own = ['use-after-free: CPU0 uses X->lock after CPU0 has freed X.'];
    expect(kinds(spin_lock, spin_unlock)).toEqual(own);
    expect(kinds(down_read, up_read)).toEqual(own);
  });

  test('who waits for it does not wait for ever: he reads freed memory', () => {
    const holder = (unlocks: boolean) =>
      function* ({ lock, free }: InPage) {
        yield* WRITE_ONCE(lock, 7);
        if (unlocks) yield* WRITE_ONCE(lock, 0);
        else yield* free();
      };
    const waits = ({ lock }: InPage) => spin_until([lock], (value) => value === 0);
    const never = ({ lock }: InPage) => spin_until([lock], (value) => value === 8);
    expect(inPage(waits, holder(true))).toEqual([]);
    expect(inPage(never, holder(false))).toEqual([FREED]);
  });
});

describe('a lock in a page that is handed out again', () => {
  /** Frees the page, perhaps with the lock taken, and uses the lock of its new owner. */
  function again(unlocks: boolean): string[] {
    return inPage(function* ({ lock, free, wordIn: at }) {
      yield* mutex_lock(lock);
      if (unlocks) yield* mutex_unlock(lock);
      yield* free();
      const page = yield* allocate_frame({ what: 'new', level: -1, recycle: true });
      yield* mutex_lock(at(page));
      yield* mutex_unlock(at(page));
      return page;
    });
  }

  test('it is free, whatever the last owner left in it', () => {
    expect(again(true)).toEqual([]);
    expect(again(false)).toEqual(['lock-leak: CPU0 ends holding X->lock.']);
  });

  test('both orders of two users are tried, though the word says "taken" from before', () => {
    const orders = new Set<string>();
    const m = mapX({ cpus: ['CPU0', 'CPU1'] });
    const { cells, memory } = m.machine;
    const stale = wordIn(m, m.X);
    memory.store(stale, 5);
    cells.values[memory.info(m.X.frame).life] = (2 << 2) | 1;
    const lock = wordIn(m, memory.page(m.X.frame, 2));
    const order: number[] = [];
    const program = tasks(
      m.machine,
      ...[0, 1].map(
        () =>
          function* (): Steps<void> {
            yield* spin_lock(lock);
            yield* spin_unlock(lock);
          },
      ),
    );
    const { deadlocks } = explore(program, {
      ended: (run) => {
        order.splice(0, order.length, ...run.actorAt.slice(0, run.depth));
        orders.add(order.join(''));
      },
    });
    expect(deadlocks).toBe(0);
    expect([...orders].sort()).toEqual(['0011', '1100']);
  });
});

/** CPU0, CPU1, ... do these things to the locks a and b. */
function run(...begins: readonly ((locks: Record<'a' | 'b', Word>) => Steps<unknown>)[]): string[] {
  return found(
    build({
      words: { a: 0, b: 0 },
      threads: (words) => begins.map((begin) => () => begin(words)),
    }),
  );
}

describe('unlocking what one does not hold', () => {
  test('a lock that is free', () => {
    const kinds = run(function* ({ a, b }) {
      yield* spin_lock(a);
      yield* spin_unlock(b);
    });
    expect(kinds).toEqual(['lock-leak: CPU0 unlocks b, which is free.']);
  });

  test('twice, for writing and for reading', () => {
    expect(
      run(function* ({ a }) {
        yield* down_write(a);
        yield* up_write(a);
        yield* up_write(a);
      }),
    ).toEqual(['lock-leak: CPU0 unlocks a, which is free.']);
    expect(
      run(function* ({ a }) {
        yield* down_read(a);
        yield* up_read(a);
        yield* up_read(a);
      }),
    ).toEqual(['lock-leak: CPU0 read-unlocks a, which is free.']);
  });

  test("another's lock, in the order in which he has it", () => {
    const kinds = run(
      function* ({ a }) {
        yield* spin_lock(a);
        yield* spin_unlock(a);
      },
      ({ a }) => spin_unlock(a),
    );
    expect(kinds).toEqual([
      'lock-leak: CPU1 unlocks a, which CPU0 holds.',
      'lock-leak: CPU1 unlocks a, which is free.',
    ]);
  });

  test("another reader's share", () => {
    const kinds = run(
      function* ({ a }) {
        yield* down_read(a);
        yield* join(1);
        yield* up_read(a);
      },
      function* ({ a }) {
        yield* spin_until([a], (value) => value === -1);
        yield* up_read(a);
      },
    );
    expect(kinds).toContain('lock-leak: CPU1 read-unlocks a, which another reader holds.');
  });

  test('a lock taken for reading as if for writing, and the other way round', () => {
    expect(
      run(function* ({ a }) {
        yield* read_lock(a);
        yield* spin_unlock(a);
      }),
    ).toEqual(['lock-leak: CPU0 unlocks a, which it holds as a spinning lock for reading.']);
    expect(
      run(function* ({ a }) {
        yield* down_write(a);
        yield* up_read(a);
      }),
    ).toEqual(['lock-leak: CPU0 read-unlocks a, which it holds as a sleeping lock for writing.']);
  });

  test('a mutex as if it were a spinlock, which would turn preemption on', () => {
    const kinds = run(function* ({ a }) {
      yield* mutex_lock(a);
      yield* spin_unlock(a);
    });
    expect(kinds).toEqual([
      'lock-leak: CPU0 unlocks a, which it holds as a sleeping lock for writing.',
    ]);
  });

  test('a handler drops the lock of the task that it interrupted', () => {
    const unlocks = fn(function* unlocks(lock: Word) {
      yield* spin_unlock(lock);
    });
    const kinds = run(function* ({ a }) {
      yield* spin_lock(a);
      yield* csd_lock_wait(yield* send_ipi(0, unlocks, [a]));
      yield* spin_unlock(a);
    });
    expect(kinds).toEqual(['lock-leak: IPI: unlocks unlocks a, which CPU0 holds.']);
  });
});

describe('nothing is found', () => {
  test('if everybody drops what he has taken, in whatever order', () => {
    const both = function* ({ a, b }: Record<'a' | 'b', Word>) {
      yield* down_read(a);
      yield* spin_lock(b);
      yield* up_read(a);
      yield* spin_unlock(b);
    };
    expect(run(both, both)).toEqual([]);
  });

  test('if a handler and a callback drop what they took themselves', () => {
    const locking = fn(function* locking(lock: Word) {
      yield* spin_lock(lock);
      yield* spin_unlock(lock);
    });
    const kinds = run(function* ({ a, b }) {
      yield* queue_callback(locking, [b], undefined);
      yield* csd_lock_wait(yield* send_ipi(0, locking, [a]));
    });
    expect(kinds).toEqual([]);
  });

  test('if one reader leaves while another stays', () => {
    const reader = function* ({ a }: Record<'a' | 'b', Word>) {
      yield* down_read(a);
      yield* up_read(a);
    };
    expect(run(reader, reader)).toEqual([]);
  });
});
