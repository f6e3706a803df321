import { expect, test } from 'vitest';
import { compare, explain } from './compare.ts';
import { generate } from './generate.ts';
import { planted } from './mistakes.ts';

const SEED = 2;
const MAX_RUNS = 20_000;

/** Differences in what people are told, not only in which runs were made. */
function tells(differences: readonly string[]): boolean {
  return differences.some((text) =>
    /^(violations|sometimes|deadlocks|final states|thrown)/.test(text),
  );
}

test.each(planted)('$name is found', ({ mistakes, family, programs, model, seed = SEED }) => {
  for (let index = 0; index < programs; index++) {
    const spec = generate(family, seed, index, MAX_RUNS, model);
    const without = compare(spec, MAX_RUNS);
    expect(without.differences, explain(spec, without)).toEqual([]);
    if (tells(compare(spec, MAX_RUNS, mistakes).differences)) return;
  }
  expect.unreachable(`none of ${programs} programs shows it`);
});
