import type { Program } from '../../src/explore/run.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { assume } from '../../src/machine/ops/control.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { smp_mb } from '../../src/machine/ops/store-buffer.ts';
import { build } from './program.ts';
import { element, times, type Words } from './words.ts';

/**
 * Mutual exclusion by loads and stores alone, two threads. Waiting is either assumed away or given up, and
 * the thread with it, after `TRIES` tries.
 */
const TRIES = 2;
export const ROUNDS = 2;

/** The full barriers that store buffers make necessary; without them two threads get in. */
export function* barrier(barriers: boolean): Steps<void> {
  if (barriers) yield* smp_mb();
}

/** What a thread knows: its flag, the other's flag, all words, its number. */
type Body = (own: Word, other: Word, w: Words, i: number) => Steps<unknown>;

export function pair(body: Body): Program {
  return build({
    words: { f0: 0, f1: 0, x: 0, y: 0, turn: 0 },
    threads: (w: Words) =>
      times(2, (i) => () => body(element(w, 'f', i), element(w, 'f', 1 - i), w, i)),
  });
}

/** x=value; r=x: nobody else may have been in between. */
export function* critical(w: Words, value: number, reads = 1): Steps<void> {
  yield* WRITE_ONCE(w.x!, value);
  for (let at = 0; at < reads; at++) {
    if ((yield* READ_ONCE(w.x!)) !== value) throw new Error('two threads in the critical section');
  }
}

export function* tries(condition: () => Steps<boolean>): Steps<boolean> {
  for (let at = 0; at < TRIES; at++) if (yield* condition()) return true;
  return false;
}

export function peterson(barriers = true): Program {
  return pair(function* (own, other, w, i) {
    yield* WRITE_ONCE(own, 1);
    yield* WRITE_ONCE(w.turn!, 1 - i);
    yield* barrier(barriers);
    const free = (yield* READ_ONCE(other)) !== 1;
    yield* assume(free || (yield* READ_ONCE(w.turn!)) !== 1 - i);
    yield* critical(w, i);
    yield* WRITE_ONCE(own, 0);
  });
}

/** Two rounds; every try reads the flag and then the turn, whatever the flag says. */
export function petersonL(barriers = true): Program {
  return pair(function* (own, other, w, i) {
    for (let round = 0; round < ROUNDS; round++) {
      yield* WRITE_ONCE(own, 1);
      yield* WRITE_ONCE(w.turn!, 1 - i);
      yield* barrier(barriers);
      const entered = yield* tries(function* () {
        const flag = yield* READ_ONCE(other);
        const turn = yield* READ_ONCE(w.turn!);
        return flag !== 1 || turn !== 1 - i;
      });
      if (!entered) return;
      yield* critical(w, i + 1);
      yield* WRITE_ONCE(own, 0);
    }
  });
}

export function dekkerL(barriers = true): Program {
  return pair(function* (own, other, w, i) {
    for (let round = 0; round < ROUNDS; round++) {
      yield* WRITE_ONCE(own, 1);
      yield* barrier(barriers);
      for (let at = 0; ; at++) {
        if (at === TRIES) return;
        if ((yield* READ_ONCE(other)) === 0) break;
        if ((yield* READ_ONCE(w.turn!)) === i) continue;
        yield* WRITE_ONCE(own, 0);
        const mine = yield* tries(function* () {
          return (yield* READ_ONCE(w.turn!)) === i;
        });
        if (!mine) return;
        yield* WRITE_ONCE(own, 1);
        yield* barrier(barriers);
      }
      yield* critical(w, i + 1);
      yield* WRITE_ONCE(w.turn!, 1 - i);
      yield* WRITE_ONCE(own, 0);
    }
  });
}

/** Lamport's fast mutex, waiting assumed away, nothing in the critical section. */
export function lamport(barriers = true): Program {
  return pair(function* (own, other, w, i) {
    const me = i + 1;
    for (;;) {
      yield* WRITE_ONCE(own, 1);
      yield* WRITE_ONCE(w.x!, me);
      yield* barrier(barriers);
      if ((yield* READ_ONCE(w.y!)) !== 0) {
        yield* WRITE_ONCE(own, 0);
        yield* assume((yield* READ_ONCE(w.y!)) === 0);
        continue;
      }
      yield* WRITE_ONCE(w.y!, me);
      yield* barrier(barriers);
      if ((yield* READ_ONCE(w.x!)) === me) break;
      yield* WRITE_ONCE(own, 0);
      yield* assume((yield* READ_ONCE(other)) === 0);
      if ((yield* READ_ONCE(w.y!)) === me) break;
      yield* assume((yield* READ_ONCE(w.y!)) === 0);
    }
    yield* WRITE_ONCE(w.y!, 0);
    yield* WRITE_ONCE(own, 0);
  });
}
