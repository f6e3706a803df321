import type { Program } from '../../src/explore/run.ts';
import { spin_until } from '../../src/machine/ops/control.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { barrier } from './mutual-exclusion.ts';
import { build } from './program.ts';
import { array, element, times, type Words } from './words.ts';

/** What a reader must never see: the updater has reclaimed the old version. */
export const POISON = -1;

/** RCU in one breath: M readers say that they are reading, the updater waits until none says so. */
export function toyRcu(m: number, barriers = true): Program {
  return build({
    words: { gp: 0, ...array('data', 2), ...array('c', m) },
    threads: (w: Words) => [
      ...times(
        m,
        (i) =>
          function* () {
            yield* WRITE_ONCE(element(w, 'c', i), 1);
            yield* barrier(barriers);
            const p = yield* READ_ONCE(w.gp!);
            const v = yield* READ_ONCE(element(w, 'data', p));
            if (v === POISON) throw new Error('a reader saw what the updater had reclaimed');
            yield* WRITE_ONCE(element(w, 'c', i), 0);
            return v;
          },
      ),
      function* () {
        yield* WRITE_ONCE(element(w, 'data', 1), 2);
        yield* WRITE_ONCE(w.gp!, 1);
        yield* barrier(barriers);
        for (let i = 0; i < m; i++) yield* spin_until([element(w, 'c', i)], (c) => c === 0);
        yield* WRITE_ONCE(element(w, 'data', 0), POISON);
      },
    ],
  });
}
