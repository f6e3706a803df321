import { describe, expect, test } from 'vitest';
import { FAMILY_NAMES, run } from './campaign.ts';

/** The seeded part; `npm run compare` and `npm run nightly`, with another seed every day, do many more. */
/** Programs of each family; those with store buffers have more interleavings. */
const PROGRAMS = { sc: 40, tso: 20 };
const SEED = 20_261_121;

describe.each(['sc', 'tso'] as const)('reduced exploration agrees with plain, %s', (model) => {
  test.each(FAMILY_NAMES)('%s', (family) => {
    const said: string[] = [];
    const { compared, mismatches } = run({
      programs: PROGRAMS[model],
      seed: SEED,
      model,
      families: [family],
      print: (text) => said.push(text),
    });
    expect(mismatches, said.join('')).toBe(0);
    expect(compared).toBeGreaterThan(PROGRAMS[model] * 0.9);
  });
});
