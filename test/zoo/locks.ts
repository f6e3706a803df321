import type { Program } from '../../src/explore/run.ts';
import type { Word } from '../../src/machine/memory.ts';
import { defineOp, perform, type Steps } from '../../src/machine/op.ts';
import { assume, spin_until } from '../../src/machine/ops/control.ts';
import { spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, fetch_add, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import { build } from './program.ts';
import { times } from './words.ts';

/** x++, not atomically: what the locks protect. */
function* increment(x: Word): Steps<void> {
  const seen = yield* READ_ONCE(x);
  yield* WRITE_ONCE(x, seen + 1);
}

/** lock; x++; unlock */
export function lockinc(n: number): Program {
  return build({
    words: { lock: 0, x: 0 },
    threads: ({ lock, x }) =>
      times(
        n,
        () =>
          function* () {
            yield* spin_lock(lock);
            yield* increment(x);
            yield* spin_unlock(lock);
          },
      ),
  });
}

const awaitCas = defineOp('await_cas', {
  ordering: 'full',
  guard: (read, _m, _who, [word, old]: [Word, number, number]) => read.get(word.cell) === old,
  exec: (m, _who, [word, , value]) => {
    m.memory.store(word, value);
    return undefined;
  },
});

/** await CAS(lock,0,1); x++; lock=0: the compare-and-exchange blocks until it can succeed. */
export function spinlock(n: number): Program {
  return build({
    words: { lock: 0, x: 0 },
    threads: ({ lock, x }) =>
      times(
        n,
        () =>
          function* () {
            yield* perform(awaitCas, [lock, 0, 1]);
            yield* increment(x);
            yield* WRITE_ONCE(lock, 0);
          },
      ),
  });
}

/** The same with a compare-and-exchange that is given up if it fails. */
export function spinlockAssume(n: number): Program {
  return build({
    words: { lock: 0, x: 0 },
    threads: ({ lock, x }) =>
      times(
        n,
        () =>
          function* () {
            yield* assume(yield* try_cmpxchg(lock, 0, 1));
            yield* increment(x);
            yield* WRITE_ONCE(lock, 0);
          },
      ),
  });
}

/** k = FAA next; await owner==k; x++; owner=k+1 */
export function ticket(n: number): Program {
  return build({
    words: { next: 0, owner: 0, x: 0 },
    threads: ({ next, owner, x }) =>
      times(
        n,
        () =>
          function* () {
            const k = yield* fetch_add(next, 1);
            yield* spin_until([owner], (value) => value === k);
            yield* increment(x);
            yield* WRITE_ONCE(owner, k + 1);
          },
      ),
  });
}

/** The same, given up if it is not the thread's turn yet. */
export function ticketAssume(n: number): Program {
  return build({
    words: { next: 0, owner: 0, x: 0 },
    threads: ({ next, owner, x }) =>
      times(
        n,
        () =>
          function* () {
            const k = yield* fetch_add(next, 1);
            yield* assume((yield* READ_ONCE(owner)) === k);
            yield* increment(x);
            yield* WRITE_ONCE(owner, k + 1);
          },
      ),
  });
}

/** Two locks taken in opposite orders. */
export function ABBA(): Program {
  return build({
    words: { a: 0, b: 0 },
    threads: ({ a, b }) => {
      const both = (outer: Word, inner: Word) =>
        function* (): Steps<void> {
          yield* spin_lock(outer);
          yield* spin_lock(inner);
          yield* spin_unlock(inner);
          yield* spin_unlock(outer);
        };
      return [both(a, b), both(b, a)];
    },
  });
}
