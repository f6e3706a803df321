import type { Program } from '../../src/explore/run.ts';
import { READ_ONCE, WRITE_ONCE, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { build } from './program.ts';
import { array, element, times, type Words } from './words.ts';

/** Node n is number n, from 1; 0 is nil. */
function* push(w: Words, n: number): Steps<void> {
  for (;;) {
    const o = yield* READ_ONCE(w.top!);
    yield* WRITE_ONCE(element(w, 'nxt', n), o);
    if (yield* try_cmpxchg(w.top!, o, n)) return;
  }
}

function* pop(w: Words): Steps<number> {
  for (;;) {
    const o = yield* READ_ONCE(w.top!);
    if (o === 0) return 0;
    const n = yield* READ_ONCE(element(w, 'nxt', o));
    if (yield* try_cmpxchg(w.top!, o, n)) return o;
  }
}

/** Treiber's stack: N push one node each, M pop one each. */
export function treiber(n: number, m: number): Program {
  return build({
    words: { top: 0, ...array('nxt', n + 1) },
    threads: (w: Words) => [
      ...times(n, (i) => () => push(w, i + 1)),
      ...times(m, () => () => pop(w)),
    ],
  });
}

/** Node 1 is the dummy. */
function* enqueue(w: Words, n: number): Steps<void> {
  for (;;) {
    const t = yield* READ_ONCE(w.tail!);
    const x = yield* READ_ONCE(element(w, 'nxt', t));
    if (t !== (yield* READ_ONCE(w.tail!))) continue;
    if (x !== 0) yield* try_cmpxchg(w.tail!, t, x);
    else if (yield* try_cmpxchg(element(w, 'nxt', t), 0, n)) {
      yield* try_cmpxchg(w.tail!, t, n);
      return;
    }
  }
}

function* dequeue(w: Words): Steps<number> {
  for (;;) {
    const h = yield* READ_ONCE(w.head!);
    const t = yield* READ_ONCE(w.tail!);
    const x = yield* READ_ONCE(element(w, 'nxt', h));
    if (h !== (yield* READ_ONCE(w.head!))) continue;
    if (h === t) {
      if (x === 0) return 0;
      yield* try_cmpxchg(w.tail!, t, x);
    } else if (yield* try_cmpxchg(w.head!, h, x)) return x;
  }
}

/** Michael and Scott's queue: N enqueue one node each, M dequeue one each. */
export function msq(n: number, m: number): Program {
  return build({
    words: { head: 1, tail: 1, ...array('nxt', n + 2) },
    threads: (w: Words) => [
      ...times(n, (i) => () => enqueue(w, i + 2)),
      ...times(m, () => () => dequeue(w)),
    ],
  });
}
