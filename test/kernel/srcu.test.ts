import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import { Run } from '../../src/explore/run.ts';
import { explainBlocked } from '../../src/ask/blocked.ts';
import {
  call_srcu,
  srcu_read_lock,
  srcu_read_unlock,
  synchronize_srcu,
} from '../../src/kernel/kernel/srcu.ts';
import { fn } from '../../src/machine/fn.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { spin_until } from '../../src/machine/ops/control.ts';
import { mutex_lock, mutex_unlock, spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { rcu_nest, wait_grace_period } from '../../src/machine/ops/rcu.ts';
import { smp_mb, smp_mb__after_srcu_read_unlock } from '../../src/machine/ops/store-buffer.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { found } from '../sanitizers/found.ts';
import { build } from '../zoo/program.ts';

/** The abstract specification: what is waited for, and what is not. */

const WORDS = { srcu: 0, other: 0, mutex: 0, lock: 0, x: 0, y: 0, z: 0 };
type Words = Readonly<Record<keyof typeof WORDS, Word>>;
type Body = (words: Words) => Steps<unknown>;

const program = (bodies: readonly Body[], model: MemoryModel = 'sc') =>
  build(
    {
      words: WORDS,
      threads: (words) => bodies.map((body) => () => body(words)),
    },
    model,
  );

/** What the actors return, in every way in which all of them can end. */
function results(bodies: readonly Body[], model: MemoryModel = 'sc'): string[] {
  const all = new Set<string>();
  explore(program(bodies, model), {
    ended: ({ nodes }) => {
      const tasks = nodes.slice(0, bodies.length);
      if (tasks.every((node) => node?.op === null)) {
        all.add(tasks.map((node) => String(node!.result)).join());
      }
    },
  });
  return [...all].sort();
}

const callback = fn(function* callback(z: Word): Steps<void> {
  yield* WRITE_ONCE(z, 1);
});

/** A section that reads x twice, and that may sleep in between. */
const reader = (domain: 'srcu' | 'other' = 'srcu'): Body =>
  function* (words) {
    const index = yield* srcu_read_lock(words[domain]);
    const first = yield* READ_ONCE(words.x);
    yield* mutex_lock(words.mutex);
    yield* mutex_unlock(words.mutex);
    const second = yield* READ_ONCE(words.y);
    yield* srcu_read_unlock(words[domain], index);
    return `${first}${second}`;
  };

/** Unlinks, waits and destroys: a reader that saw the link must not see what was destroyed. */
const updater: Body = function* ({ srcu, x, y }) {
  yield* WRITE_ONCE(x, 1);
  yield* synchronize_srcu(srcu);
  yield* WRITE_ONCE(y, 1);
};

describe.each(['sc', 'tso'] as const)('%s', (model) => {
  test('synchronize_srcu() waits for the sections of its domain, whose readers may sleep', () => {
    expect(results([reader(), updater], model)).toEqual([
      '00,undefined',
      '10,undefined',
      '11,undefined',
    ]);
    expect(found(program([reader(), updater], model))).toEqual([]);
  });

  test('and for no section of another', () => {
    expect(results([reader('other'), updater], model)).toContain('01,undefined');
  });

  test('nor for RCU sections, as RCU does not wait for its sections', () => {
    const rcuReader: Body = function* ({ x, y }) {
      yield* rcu_nest(1);
      const first = yield* READ_ONCE(x);
      const second = yield* READ_ONCE(y);
      yield* rcu_nest(-1);
      return `${first}${second}`;
    };
    const rcuUpdater: Body = function* ({ x, y }) {
      yield* WRITE_ONCE(x, 1);
      yield* wait_grace_period();
      yield* WRITE_ONCE(y, 1);
    };
    expect(results([rcuReader, updater], model)).toContain('01,undefined');
    expect(results([reader(), rcuUpdater], model)).toContain('01,undefined');
  });

  test('call_srcu() goes on at once; its callback waits', () => {
    const looks: Body = function* ({ srcu, x, z }) {
      const index = yield* srcu_read_lock(srcu);
      const first = yield* READ_ONCE(x);
      const second = yield* READ_ONCE(z);
      yield* srcu_read_unlock(srcu, index);
      return `${first}${second}`;
    };
    const calls: Body = function* ({ srcu, x, z }) {
      yield* WRITE_ONCE(x, 1);
      yield* call_srcu(srcu, callback, [z]);
      return yield* READ_ONCE(z);
    };
    const seen = results([looks, calls], model);
    expect(seen).toContain('10,0'); // the callback was queued, and has not run
    expect(seen).toContain('11,1'); // it has run
    expect(seen.filter((each) => each.startsWith('01'))).toEqual([]);
  });

  test('sections end by index: a grace period waits for the one that was open, not for a later one', () => {
    const crossing: Body = function* ({ srcu, x, y }) {
      const first = yield* srcu_read_lock(srcu);
      yield* spin_until([x], (value) => value === 1); // the grace period may have begun
      const second = yield* srcu_read_lock(srcu);
      yield* srcu_read_unlock(srcu, first);
      const seen = yield* READ_ONCE(y);
      yield* srcu_read_unlock(srcu, second);
      return `${first}${second}${seen}`;
    };
    expect(results([crossing, updater], model)).toEqual(['010,undefined', '011,undefined']);
  });

  test('an index is free again when its section has ended', () => {
    const twice: Body = function* ({ srcu }) {
      const first = yield* srcu_read_lock(srcu);
      yield* srcu_read_unlock(srcu, first);
      const second = yield* srcu_read_lock(srcu);
      yield* srcu_read_unlock(srcu, second);
      return `${first}${second}`;
    };
    expect(results([twice], model)).toEqual(['00']);
  });

  test('what was stored in the section is in memory when the grace period is over', () => {
    const stores: Body = function* ({ srcu, x, y }) {
      const index = yield* srcu_read_lock(srcu);
      yield* WRITE_ONCE(x, 1);
      yield* srcu_read_unlock(srcu, index);
      yield* WRITE_ONCE(y, 1);
    };
    const waits: Body = function* ({ srcu, x, z }) {
      yield* WRITE_ONCE(z, 1);
      yield* synchronize_srcu(srcu);
      return yield* READ_ONCE(x);
    };
    const sees: Body = function* ({ srcu, z }) {
      const index = yield* srcu_read_lock(srcu);
      const seen = yield* READ_ONCE(z);
      yield* srcu_read_unlock(srcu, index);
      return seen;
    };
    // Nobody who has begun before the grace period did is still inside: who comes later sees what was stored.
    expect(results([stores, waits], model)).toEqual(['undefined,0', 'undefined,1']);
    expect(results([sees, waits], model)).toEqual(['0,0', '1,0']);
  });
});

test('the end of a section is no barrier; smp_mb__after_srcu_read_unlock() makes it one', () => {
  const mode = (barrier: boolean): Body =>
    function* ({ srcu, x, y }) {
      const index = yield* srcu_read_lock(srcu);
      yield* WRITE_ONCE(x, 1);
      yield* srcu_read_unlock(srcu, index);
      if (barrier) yield* smp_mb__after_srcu_read_unlock();
      return yield* READ_ONCE(y);
    };
  const request: Body = function* ({ x, y }) {
    yield* WRITE_ONCE(y, 1);
    yield* smp_mb();
    return yield* READ_ONCE(x);
  };
  expect(results([mode(false), request], 'tso')).toContain('0,0');
  expect(results([mode(true), request], 'tso')).not.toContain('0,0');
  expect(results([mode(false), request], 'sc')).not.toContain('0,0');
});

describe('misuse', () => {
  const selfWait: Body = function* ({ srcu }) {
    const index = yield* srcu_read_lock(srcu);
    yield* synchronize_srcu(srcu);
    yield* srcu_read_unlock(srcu, index);
  };

  test('waiting for a section of one’s own never ends, and the report says whose it is', () => {
    expect(found(program([selfWait]))).toEqual([
      'deadlock: Nobody can go on: CPU0 waits for a grace period of srcu, held up by CPU0.',
    ]);
  });

  test('explanations follow the wait to the section and what its reader waits for', () => {
    const blocks: Body = function* ({ srcu, mutex }) {
      const index = yield* srcu_read_lock(srcu);
      yield* mutex_lock(mutex);
      yield* mutex_unlock(mutex);
      yield* srcu_read_unlock(srcu, index);
    };
    const waits: Body = function* ({ srcu, mutex }) {
      yield* mutex_lock(mutex);
      yield* synchronize_srcu(srcu);
      yield* mutex_unlock(mutex);
    };
    const both = program([blocks, waits]);
    expect(found(both)).toEqual([
      'deadlock: Nobody can go on: CPU0 waits for mutex, held by CPU1; ' +
        'CPU1 waits for a grace period of srcu, held up by CPU0.',
    ]);
    const run = new Run(both);
    for (const actor of [0, 1, 1]) run.execute(actor, 0);
    expect(explainBlocked(run, 1, (step) => `step ${step}`).sentences).toEqual([
      'CPU1 waits for a grace period of srcu, which CPU0 holds up.',
      'CPU0 is in a section of srcu since step 0.',
      'CPU0 waits for mutex, held by CPU1.',
      'CPU1 holds it since step 1.',
    ]);
  });

  test('a grace period of another domain may be awaited inside a section', () => {
    const nested: Body = function* ({ srcu, other }) {
      const index = yield* srcu_read_lock(srcu);
      yield* synchronize_srcu(other);
      yield* srcu_read_unlock(srcu, index);
    };
    expect(found(program([nested, nested]))).toEqual([]);
  });

  test('two that wait inside for each other’s domain never end', () => {
    const crossed = (own: 'srcu' | 'other', others: 'srcu' | 'other'): Body =>
      function* (words) {
        const index = yield* srcu_read_lock(words[own]);
        yield* synchronize_srcu(words[others]);
        yield* srcu_read_unlock(words[own], index);
      };
    const said = found(program([crossed('srcu', 'other'), crossed('other', 'srcu')]));
    expect(said).toEqual([
      'deadlock: Nobody can go on: CPU0 waits for a grace period of other, held up by CPU1; ' +
        'CPU1 waits for a grace period of srcu, held up by CPU0.',
    ]);
  });

  test('synchronize_srcu() sleeps; a section by itself is no reason not to', () => {
    const atomic: Body = function* ({ srcu, lock }) {
      yield* spin_lock(lock);
      yield* synchronize_srcu(srcu);
      yield* spin_unlock(lock);
    };
    expect(found(program([atomic]))).toEqual([
      'sleep-in-atomic: CPU0 may sleep on synchronize_srcu() in atomic context.',
    ]);
  });

  test('a section is ended that is not open', () => {
    const ends = (index: number): Body =>
      function* ({ srcu }) {
        const open = yield* srcu_read_lock(srcu);
        yield* srcu_read_unlock(srcu, open);
        yield* srcu_read_unlock(srcu, index);
      };
    for (const index of [0, 1]) {
      expect(found(program([ends(index)]))).toEqual([
        `rcu-misuse: CPU0 calls srcu_read_unlock(srcu, ${index}) outside such a section.`,
      ]);
    }
  });

  test('a section is left open', () => {
    const leaves: Body = ({ srcu }) => srcu_read_lock(srcu);
    expect(found(program([leaves]))).toEqual(['rcu-misuse: CPU0 ends inside a section of srcu.']);
  });
});
