import { describe, expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { litmus } from '../zoo/litmus.ts';
import { build, sourceOf, wordsOf } from '../zoo/program.ts';
import { ENOUGH, NEVER, STORE_LOAD, TOO_FEW, fenced, type Shape } from '../zoo/verdicts.ts';

/** The verdicts of the herd tools (sc.cat, x86tso.cat), from the final states that the explorer reaches. */
function occurs({ text, reads, finals }: Shape, model: MemoryModel): boolean {
  const program = build(sourceOf(litmus(text)), model);
  const words = wordsOf(program);
  let seen = false;
  const { stopped } = explore(program, {
    ended: (run) => {
      const { cells } = program.machine;
      const read = reads.every(
        (each, thread) => each === undefined || run.nodes[thread]!.result === each,
      );
      const left = Object.entries(finals).every(
        ([name, value]) => cells.peek(words[name]!.cell) === value,
      );
      if (read && left) seen = true;
    },
  });
  expect(stopped).toBe(null);
  return seen;
}

function verdicts(shapes: readonly Shape[], tso: boolean): void {
  test.each(shapes.map((shape) => [shape.name, shape] as const))('%s', (_name, shape) => {
    expect(occurs(shape, 'sc')).toBe(false);
    expect(occurs(shape, 'tso')).toBe(tso);
  });
}

describe('stores and loads in the order of the program', () => {
  describe('never', () => verdicts(NEVER, false));
  describe('sometimes under x86-TSO', () => verdicts(STORE_LOAD, true));
});

describe('with barriers', () => {
  describe('everywhere', () => verdicts([...NEVER, ...STORE_LOAD].map(fenced), false));
  describe('too few', () => verdicts(TOO_FEW, true));
  describe('enough', () => verdicts(ENOUGH, false));
});

/** In MP one thread alone is all of the outcome. */
const inParts = [...NEVER, ...STORE_LOAD].filter(({ name }) => name !== 'MP');

/** A cycle that no run closes may also be one that was asked about wrongly. */
test.each(inParts.map((shape) => [shape.name, shape] as const))(
  '%s: each part of the outcome occurs by itself',
  (_name, { finals, ...shape }) => {
    for (const [name, value] of Object.entries(finals)) {
      expect(occurs({ ...shape, reads: [], finals: { [name]: value } }, 'sc')).toBe(true);
    }
    shape.reads.forEach((each, thread) => {
      const reads = shape.reads.map((_, at) => (at === thread ? each : undefined));
      expect(occurs({ ...shape, reads, finals: {} }, 'sc')).toBe(true);
    });
  },
);
