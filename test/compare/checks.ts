import type { StepCheck } from '../../src/explore/run.ts';
import { WRITE, type Cells } from '../../src/machine/cells.ts';
import type { Machine } from '../../src/machine/machine.ts';
import type { Word } from '../../src/machine/memory.ts';
import { holds } from './ops.ts';
import type { CheckSpec } from './spec.ts';

/** Deliberate mistakes in how checks are attached. */
export interface CheckMistakes {
  /** Checks read without recording. */
  readonly peekingChecks?: boolean;
  /** Checks are evaluated only after a writer of the words they last read. */
  readonly asymmetricChecks?: boolean;
}

/** After every step of an actor a condition of words, which must not hold. */
export function checksOf(
  machine: Machine,
  all: readonly Word[],
  specs: readonly CheckSpec[],
  mistakes: CheckMistakes,
): StepCheck[] {
  return specs.map(({ actor, words, condition }, at) => {
    const { cells } = machine;
    const read = mistakes.peekingChecks
      ? (word: number) => cells.peek(all[word]!.cell)
      : (word: number) => cells.get(all[word]!.cell);
    const lastRead = cells.allocate(-1);
    return (_machine, step) => {
      if (mistakes.asymmetricChecks) {
        const mask = cells.peek(lastRead);
        if (!words.some((word) => mask & (1 << word) && wrote(cells, all[word]!))) return;
      } else if (step.who.index !== actor) return;
      let mask = 0;
      const values = words.map((word) => () => {
        mask |= 1 << word;
        return read(word);
      });
      const bad = holds(condition, values);
      cells.poke(lastRead, mask);
      if (!bad) return;
      machine.violate({
        kind: 'property',
        actor: step.who.name,
        object: `check ${at}`,
        message: `${condition} of ${words.join()}`,
        stops: false,
      });
    };
  });
}

/** Has the step being recorded written the word? */
function wrote(cells: Cells, word: Word): boolean {
  const at = cells.head[word.cell]!;
  return at >= cells.start && cells.kind[at] === WRITE;
}
