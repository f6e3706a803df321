import { expect, test } from 'vitest';
import { compare, explain, shrink } from './compare.ts';
import { FAMILY_NAMES, generate } from './generate.ts';

/** What tools/compare.mjs runs: as many programs of every family as it is told. */
const programs = Number(process.env.COMPARE_PROGRAMS ?? 0);
const seed = Number(process.env.COMPARE_SEED ?? 1);
const families = process.env.COMPARE_FAMILIES?.split(',') ?? FAMILY_NAMES;
const maxRuns = Number(process.env.COMPARE_MAX_RUNS ?? 20_000);
const show = Number(process.env.COMPARE_SHOW ?? 1);

test.runIf(programs > 0)(
  `reduced exploration agrees with plain enumeration, seed ${seed}`,
  { timeout: 24 * 3600 * 1000 },
  () => {
    let wrong = 0;
    let shown = 0;
    for (const family of families) {
      const sum = { programs: 0, skipped: 0, plain: 0, reduced: 0, asleep: 0, duplicates: 0 };
      let differing = 0;
      const started = performance.now();
      for (let index = 0; index < programs; index++) {
        const spec = generate(family, seed, index);
        const comparison = compare(spec, maxRuns);
        sum.programs++;
        if (comparison.skipped) sum.skipped++;
        sum.plain += comparison.plain;
        sum.reduced += comparison.reduced;
        sum.asleep += comparison.sleepBlocked;
        sum.duplicates += comparison.duplicates;
        if (comparison.differences.length === 0) continue;
        differing++;
        if (shown++ >= show) continue;
        const small = shrink(spec, maxRuns);
        process.stdout.write(
          `\nfamily ${family}, seed ${seed}, program ${index}, made smaller:\n${explain(small, compare(small, maxRuns))}\n\n`,
        );
      }
      wrong += differing;
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      process.stdout.write(
        `${family.padEnd(11)} ${sum.programs} programs (${sum.skipped} too large): ${sum.plain} runs plain, ` +
          `${sum.reduced} reduced, ${sum.asleep} sleep-blocked, ${sum.duplicates} duplicates, ${differing} mismatches, ${seconds} s\n`,
      );
    }
    expect(wrong).toBe(0);
  },
);
