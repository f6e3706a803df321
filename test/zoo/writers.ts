import type { Program } from '../../src/explore/run.ts';
import { join } from '../../src/machine/ops/control.ts';
import { READ_ONCE, WRITE_ONCE, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import { build } from './program.ts';
import { array, element, times, type Words } from './words.ts';

/** One writes x, N read it: the readers are independent of each other. */
export function readers(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => [() => WRITE_ONCE(x, 1), ...times(n, () => () => READ_ONCE(x))],
  });
}

/** T0 looks for the last zero of a[]; Tj makes a[j] one more than its neighbour. */
export function lastzero(n: number): Program {
  return build({
    words: array('a', n + 1),
    threads: (w: Words) => [
      function* () {
        let i = n;
        while ((yield* READ_ONCE(element(w, 'a', i))) !== 0) i--;
        return i;
      },
      ...times(
        n,
        (at) =>
          function* () {
            const before = yield* READ_ONCE(element(w, 'a', at));
            yield* WRITE_ONCE(element(w, 'a', at + 1), before + 1);
          },
      ),
    ],
  });
}

/** N write x, one reads it meanwhile. */
export function nwriters1r(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => [...times(n, (i) => () => WRITE_ONCE(x, i + 1)), () => READ_ONCE(x)],
  });
}

/** N write x, the main thread joins them all and reads it. */
export function lastwrite(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => [
      ...times(n, (i) => () => WRITE_ONCE(x, i + 1)),
      function* () {
        yield* join(...times(n, (i) => i));
        return yield* READ_ONCE(x);
      },
    ],
  });
}

/** N write x, the main thread reads it without waiting for them. */
export function floatread(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => [() => READ_ONCE(x), ...times(n, (i) => () => WRITE_ONCE(x, i + 1))],
  });
}

/** Two threads: N times x=tid, then r=x. */
export function nw2t(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) =>
      times(
        2,
        (tid) =>
          function* () {
            for (let round = 0; round < n; round++) yield* WRITE_ONCE(x, tid + 1);
            return yield* READ_ONCE(x);
          },
      ),
  });
}

/** Two write x N times each, one reads it twice. */
export function redco(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => [
      ...times(
        2,
        (tid) =>
          function* () {
            for (let round = 0; round < n; round++) yield* WRITE_ONCE(x, tid + 1);
          },
      ),
      function* () {
        const first = yield* READ_ONCE(x);
        const second = yield* READ_ONCE(x);
        return `${first},${second}`;
      },
    ],
  });
}

/** Two threads: N times {x=tid; r=x}. */
export function racepar(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) =>
      times(
        2,
        (tid) =>
          function* () {
            const seen: number[] = [];
            for (let round = 0; round < n; round++) {
              yield* WRITE_ONCE(x, tid + 1);
              seen.push(yield* READ_ONCE(x));
            }
            return seen.join();
          },
      ),
  });
}

/** One writes x=2, N try CAS(x,2,3). */
export function wcas(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => [() => WRITE_ONCE(x, 2), ...times(n, () => () => try_cmpxchg(x, 2, 3))],
  });
}

/** One writes x=1, N threads r=x;x=i. */
export function wrw(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => [
      () => WRITE_ONCE(x, 1),
      ...times(
        n,
        (i) =>
          function* () {
            const seen = yield* READ_ONCE(x);
            yield* WRITE_ONCE(x, i + 2);
            return seen;
          },
      ),
    ],
  });
}
