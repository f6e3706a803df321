import type { Program } from '../../src/explore/run.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { build } from './program.ts';

/** N times: p = first; q = second; target = p + q. */
function adder(n: number, first: Word, second: Word, target: Word): () => Steps<void> {
  return function* () {
    for (let round = 0; round < n; round++) {
      const p = yield* READ_ONCE(first);
      const q = yield* READ_ONCE(second);
      yield* WRITE_ONCE(target, p + q);
    }
  };
}

function observer(x: Word, y: Word): () => Steps<string> {
  return function* () {
    const first = yield* READ_ONCE(x);
    const second = yield* READ_ONCE(y);
    return `${first},${second}`;
  };
}

const ones = { x: 1, y: 1 };

/** x=y=1; A adds y to x, B adds x to y, both reading x first. */
export function fib(n: number): Program {
  return build({
    words: ones,
    threads: ({ x, y }) => [adder(n, x, y, x), adder(n, x, y, y)],
  });
}

/** As fib, but B reads y first, and the main thread reads x and y meanwhile. */
export function fibobs(n: number): Program {
  return build({
    words: ones,
    threads: ({ x, y }) => [adder(n, x, y, x), adder(n, y, x, y), observer(x, y)],
  });
}

/** As fib, and a third thread reads x and y. */
export function fib3(n: number): Program {
  return build({
    words: ones,
    threads: ({ x, y }) => [adder(n, x, y, x), adder(n, x, y, y), observer(x, y)],
  });
}
