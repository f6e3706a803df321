import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { compare, explain, shrink } from './compare.ts';
import { FAMILY_NAMES, generate } from './generate.ts';

/** Many programs of every family: what `npm run compare` and the seeded part of the tests run. */

export interface Campaign {
  /** Programs of each family. */
  readonly programs: number;
  readonly seed: number;
  readonly families?: readonly string[];
  readonly model: MemoryModel;
  /** Plain enumeration beyond this is given up and counted as too large. */
  readonly maxRuns?: number;
  /** How many mismatches are made smaller and printed. */
  readonly show?: number;
  readonly print: (text: string) => void;
}

export interface Totals {
  programs: number;
  compared: number;
  mismatches: number;
}

export { FAMILY_NAMES };

/** Compares the programs of one family. */
function family(name: string, campaign: Campaign, shown: { left: number }): Totals {
  const { programs, seed, model, maxRuns = 20_000, print } = campaign;
  const sum = {
    large: 0,
    plain: 0,
    reduced: 0,
    asleep: 0,
    optimal: 0,
    duplicates: 0,
    mismatches: 0,
  };
  const started = performance.now();
  for (let index = 0; index < programs; index++) {
    const spec = generate(name, seed, index, maxRuns, model);
    const comparison = compare(spec, maxRuns);
    if (comparison.skipped) sum.large++;
    sum.plain += comparison.plain;
    sum.reduced += comparison.reduced;
    sum.asleep += comparison.sleepBlocked;
    sum.optimal += comparison.blockedOptimal;
    sum.duplicates += comparison.duplicates;
    if (comparison.differences.length === 0) continue;
    sum.mismatches++;
    if (shown.left-- <= 0) continue;
    const small = shrink(spec, maxRuns);
    const what = explain(small, compare(small, maxRuns));
    print(`\n${name}, seed ${seed}, program ${index}, made smaller:\n${what}\n\n`);
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  print(
    [
      name.padEnd(10),
      String(programs).padStart(6),
      String(sum.large).padStart(9),
      String(sum.plain).padStart(10),
      String(sum.reduced).padStart(9),
      String(sum.asleep).padStart(13),
      String(sum.optimal).padStart(10),
      String(sum.duplicates).padStart(10),
      String(sum.mismatches).padStart(10),
      `${seconds} s`.padStart(9),
    ].join(' ') + '\n',
  );
  return { programs, compared: programs - sum.large, mismatches: sum.mismatches };
}

const HEADER =
  'family     programs too large runs plain   reduced sleep-blocked in optimal duplicates mismatches\n';

/** Compares the programs of every family and prints a line for each. */
export function run(campaign: Campaign): Totals {
  const total: Totals = { programs: 0, compared: 0, mismatches: 0 };
  const shown = { left: campaign.show ?? 1 };
  campaign.print(`seed ${campaign.seed}, model ${campaign.model}\n${HEADER}`);
  for (const name of campaign.families ?? FAMILY_NAMES) {
    const { programs, compared, mismatches } = family(name, campaign, shown);
    total.programs += programs;
    total.compared += compared;
    total.mismatches += mismatches;
  }
  campaign.print(
    `${total.programs} programs, ${total.compared} compared, ${total.mismatches} mismatches\n`,
  );
  return total;
}
