import type { Reader } from '../../src/machine/cells.ts';
import type { Machine } from '../../src/machine/machine.ts';
import type { Memory, Word } from '../../src/machine/memory.ts';
import { defineOp, type Steps } from '../../src/machine/op.ts';
import { WRITE_ONCE, write_entry } from '../../src/machine/ops/memory.ts';
import type { Condition, Micro } from './spec.ts';

/** Ops that only generated programs have: a step that does several things at once, and an observer's. */

/** Does the condition hold? Values are asked for as they are needed. */
export function holds(condition: Condition, values: readonly (() => number)[]): boolean {
  switch (condition) {
    case 'all-nonzero':
      return values.every((value) => value() !== 0);
    case 'all-zero':
      return values.every((value) => value() === 0);
    case 'any-nonzero':
      return values.map((value) => value()).some((value) => value !== 0); // see `OpDef.guard`
    case 'equal': {
      const first = values[0]!();
      return values.every((value) => value() === first);
    }
    case 'sum':
      return values.reduce((sum, value) => sum + value(), 0) % 3 === 0;
    case 'above':
      return values.length > 1 ? values[0]!() > values[1]!() : values[0]!() > 1;
  }
}

export const severalOp = defineOp('several', {
  ordering: 'full',
  guard: (
    read: Reader,
    _m,
    _who,
    [words, guard]: [
      readonly Word[],
      { words: readonly number[]; condition: Condition } | null,
      number | null,
      readonly Micro[],
      number,
    ],
  ) =>
    guard === null ||
    holds(
      guard.condition,
      guard.words.map((at) => () => read.get(words[at]!.cell)),
    ),
  outcomes: (m, _who, [words, , outcomes]) =>
    outcomes === null ? 1 : 1 + (Math.abs(m.cells.get(words[outcomes]!.cell)) % 3),
  exec: (m, _who, [words, , , body, received]) => {
    let t = received;
    let skip = false;
    const at = (index: number): Word => words[Math.abs(index) % words.length]!;
    for (const micro of body) {
      if (skip) {
        skip = false;
        continue;
      }
      if (micro.do === 'read') t = m.cells.get(words[micro.word]!.cell);
      else if (micro.do === 'write') m.memory.store(words[micro.word]!, (t + micro.plus) % 4);
      else if (micro.do === 'update') update(m, words[micro.word]!);
      else if (micro.do === 'read-at') t = m.cells.get(at(t + micro.plus).cell);
      else if (micro.do === 'write-at') m.memory.store(at(t), micro.plus);
      else if (micro.do === 'outcome') t = m.outcome;
      else skip = t === 0;
    }
    return t;
  },
});

/** Adds one in a way that commutes; with store buffers every store must be known to be one. */
function update(m: Machine, word: Word): void {
  if (m.buffers === null) m.cells.add(word.cell, 1);
  else m.memory.store(word, m.memory.load(word) + 1);
}

export const observeOp = defineOp('observe', {
  ordering: 'none',
  exec: (
    m,
    who,
    [words, condition, as, seen]: [readonly Word[], Condition, 'always' | 'sometimes', Set<string>],
  ) => {
    const held = holds(
      condition,
      words.map((word) => () => m.cells.get(word.cell)),
    );
    const name = `${condition} of ${words.map((word) => word.name).join()}`;
    if (as === 'sometimes') {
      if (held) seen.add(name);
    } else if (!held) {
      m.violate({
        kind: 'property',
        actor: who.name,
        object: name,
        message: `${name} does not hold.`,
        stops: false,
      });
    }
    return undefined;
  },
});

/** A store through a pointer; it may lead to a table (then `entries`), to which nobody stores plain words. */
export function* store(word: Word, value: number, entries: Memory | false): Steps<void> {
  if (!entries) yield* WRITE_ONCE(word, value);
  else yield* write_entry(word, entries.entry(BigInt(value) << 1n, 0)); // not present
}
