import type { Program } from '../../src/explore/run.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { assume } from '../../src/machine/ops/control.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { ROUNDS, critical, pair, tries } from './mutual-exclusion.ts';

type Wait = (other: Word, condition: (flag: number) => boolean) => Steps<boolean>;

/** One round of Szymanski's algorithm; `false`: a wait was given up. */
function* szymanski(
  own: Word,
  other: Word,
  wait: Wait,
  section: () => Steps<void>,
): Steps<boolean> {
  yield* WRITE_ONCE(own, 1);
  if (!(yield* wait(other, (flag) => flag < 3))) return false;
  yield* WRITE_ONCE(own, 3);
  if ((yield* READ_ONCE(other)) === 1) {
    yield* WRITE_ONCE(own, 2);
    if (!(yield* wait(other, (flag) => flag === 4))) return false;
  }
  yield* WRITE_ONCE(own, 4);
  if (!(yield* wait(other, (flag) => flag < 2))) return false;
  yield* section();
  if (!(yield* wait(other, (flag) => flag < 2 || flag > 3))) return false;
  yield* WRITE_ONCE(own, 0);
  return true;
}

export function szym1(): Program {
  const wait: Wait = function* (other, condition) {
    yield* assume(condition(yield* READ_ONCE(other)));
    return true;
  };
  return pair((own, other, w, i) => szymanski(own, other, wait, () => critical(w, i, 2)));
}

export function szymL(): Program {
  const wait: Wait = (other, condition) =>
    tries(function* () {
      return condition(yield* READ_ONCE(other));
    });
  return pair(function* (own, other, w, i) {
    for (let round = 0; round < ROUNDS; round++) {
      if (!(yield* szymanski(own, other, wait, () => critical(w, i + 1)))) return;
    }
  });
}
