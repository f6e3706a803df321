import type { Program } from '../../src/explore/run.ts';
import { spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import { build } from './program.ts';
import { array, element, times, type Words } from './words.ts';

const SLOTS = 128;

/** N threads insert four keys each into an open hash table; they collide from the twelfth thread on. */
export function indexer(n: number): Program {
  return build({
    words: array('tab', SLOTS),
    threads: (w: Words) =>
      times(
        n,
        (t) =>
          function* () {
            for (let m = 1; m <= 4; m++) {
              const key = 11 * m + t;
              let h = (7 * key) % SLOTS;
              while (!(yield* try_cmpxchg(element(w, 'tab', h), 0, key))) h = (h + 1) % SLOTS;
            }
          },
      ),
  });
}

const INODES = 32;
const BLOCKS = 26;

/** N threads give their inode a block, inodes and blocks under locks of their own. */
export function filesystem(n: number): Program {
  return build({
    words: {
      ...array('li', INODES),
      ...array('inode', INODES),
      ...array('lb', BLOCKS),
      ...array('busy', BLOCKS),
    },
    threads: (w: Words) =>
      times(
        n,
        (t) =>
          function* () {
            const i = t % INODES;
            yield* spin_lock(element(w, 'li', i));
            if ((yield* READ_ONCE(element(w, 'inode', i))) === 0) {
              for (let b = (2 * i) % BLOCKS; ; b = (b + 1) % BLOCKS) {
                yield* spin_lock(element(w, 'lb', b));
                const free = (yield* READ_ONCE(element(w, 'busy', b))) === 0;
                if (free) {
                  yield* WRITE_ONCE(element(w, 'busy', b), 1);
                  yield* WRITE_ONCE(element(w, 'inode', i), b + 1);
                }
                yield* spin_unlock(element(w, 'lb', b));
                if (free) break;
              }
            }
            yield* spin_unlock(element(w, 'li', i));
          },
      ),
  });
}
