import type { Program } from '../../src/explore/run.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { build } from './program.ts';
import { times } from './words.ts';

/** One writes d1 and d2 N times inside a sequence lock; M readers have `tries` tries to read them in peace. */
export function seqlock(n: number, m: number, tries = 1): Program {
  return build({
    words: { s: 0, d1: 0, d2: 0 },
    threads: ({ s, d1, d2 }) => [
      function* () {
        for (let i = 1; i <= n; i++) {
          const q = yield* READ_ONCE(s);
          yield* WRITE_ONCE(s, q + 1);
          yield* WRITE_ONCE(d1, i);
          yield* WRITE_ONCE(d2, i);
          yield* WRITE_ONCE(s, q + 2);
        }
      },
      ...times(
        m,
        () =>
          function* () {
            for (let round = 0; round < tries; round++) {
              const q = yield* READ_ONCE(s);
              if (q % 2 !== 0) continue;
              const first = yield* READ_ONCE(d1);
              const second = yield* READ_ONCE(d2);
              if ((yield* READ_ONCE(s)) === q) return `${first},${second}`;
            }
            return 'gave up';
          },
      ),
    ],
  });
}
