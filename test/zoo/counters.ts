import type { Program } from '../../src/explore/run.ts';
import { READ_ONCE, WRITE_ONCE, fetch_add, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import { build } from './program.ts';
import { times } from './words.ts';

/** r=x; x=r+1 */
export function inc(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) =>
      times(
        n,
        () =>
          function* () {
            const seen = yield* READ_ONCE(x);
            yield* WRITE_ONCE(x, seen + 1);
          },
      ),
  });
}

/** FAA x */
export function ainc(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => times(n, () => () => fetch_add(x, 1)),
  });
}

/** FAA x; FAA y */
export function binc(n: number): Program {
  return build({
    words: { x: 0, y: 0 },
    threads: ({ x, y }) =>
      times(
        n,
        () =>
          function* () {
            yield* fetch_add(x, 1);
            yield* fetch_add(y, 1);
          },
      ),
  });
}

/** Thread i, from 1: CAS(x,i-1,i) */
export function casrot(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) => times(n, (i) => () => try_cmpxchg(x, i, i + 1)),
  });
}

/** CAS(x,0,1); x=tid+3 */
export function casw(n: number): Program {
  return build({
    words: { x: 0 },
    threads: ({ x }) =>
      times(
        n,
        (tid) =>
          function* () {
            const won = yield* try_cmpxchg(x, 0, 1);
            yield* WRITE_ONCE(x, tid + 3);
            return won;
          },
      ),
  });
}
