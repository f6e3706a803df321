import type { Program } from '../../src/explore/run.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { assume } from '../../src/machine/ops/control.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { ROUNDS, barrier, critical, pair, tries } from './mutual-exclusion.ts';

type Wait = (other: Word, condition: (flag: number) => boolean) => Steps<boolean>;

interface Parts {
  readonly wait: Wait;
  readonly section: () => Steps<void>;
  readonly barriers: boolean;
}

/** One round of Szymanski's algorithm; `false`: a wait was given up. */
function* szymanski(own: Word, other: Word, { wait, section, barriers }: Parts): Steps<boolean> {
  yield* WRITE_ONCE(own, 1);
  yield* barrier(barriers);
  if (!(yield* wait(other, (flag) => flag < 3))) return false;
  yield* WRITE_ONCE(own, 3);
  yield* barrier(barriers);
  if ((yield* READ_ONCE(other)) === 1) {
    yield* WRITE_ONCE(own, 2);
    yield* barrier(barriers);
    if (!(yield* wait(other, (flag) => flag === 4))) return false;
  }
  yield* WRITE_ONCE(own, 4);
  yield* barrier(barriers);
  if (!(yield* wait(other, (flag) => flag < 2))) return false;
  yield* section();
  yield* barrier(barriers);
  if (!(yield* wait(other, (flag) => flag < 2 || flag > 3))) return false;
  yield* WRITE_ONCE(own, 0);
  return true;
}

export function szym1(barriers = true): Program {
  const wait: Wait = function* (other, condition) {
    yield* assume(condition(yield* READ_ONCE(other)));
    return true;
  };
  return pair((own, other, w, i) =>
    szymanski(own, other, { wait, section: () => critical(w, i, 2), barriers }),
  );
}

export function szymL(barriers = true): Program {
  const wait: Wait = (other, condition) =>
    tries(function* () {
      return condition(yield* READ_ONCE(other));
    });
  return pair(function* (own, other, w, i) {
    for (let round = 0; round < ROUNDS; round++) {
      const section = (): Steps<void> => critical(w, i + 1);
      if (!(yield* szymanski(own, other, { wait, section, barriers }))) return;
    }
  });
}
