import { GracewalkError } from '../base/errors.ts';
import { variantNames } from '../scenario/check.ts';
import type { Scenario } from '../scenario/scenario.ts';
import type { Loaded } from './load-scenarios.ts';
import { suggest } from '../base/suggest.ts';

export interface Planned extends Loaded {
  readonly variant: string;
}

/** Tokens leave out the spaces of a variant's name; people may. */
export function squeezed(name: string): string {
  return name.replaceAll(/\s/g, '');
}

/** The variants to check, in the scenarios' order. A name that no scenario knows is an error (E106). */
export function planVariants(
  loaded: readonly Loaded[],
  wanted: readonly string[],
  fail: (error: GracewalkError) => void,
): Planned[] {
  const all = loaded.flatMap(({ file, scenario }) =>
    variantNames(scenario).map((variant) => ({ file, scenario, variant })),
  );
  if (wanted.length === 0) return all;
  for (const name of wanted) {
    // Files that did not load have been told of; a variant may have been in them.
    if (loaded.length === 0 || all.some((planned) => isCalled(planned, name))) continue;
    fail(
      unknownVariant(
        name,
        loaded.map(({ scenario }) => scenario),
      ),
    );
  }
  return all.filter((planned) => wanted.some((name) => isCalled(planned, name)));
}

function isCalled({ variant }: Planned, name: string): boolean {
  return squeezed(variant) === squeezed(name);
}

/** The name as the scenario writes it. */
export function findVariant(scenario: Scenario, name: string): string {
  const found = variantNames(scenario).find((variant) => squeezed(variant) === squeezed(name));
  if (found !== undefined) return found;
  throw unknownVariant(name, [scenario]);
}

function unknownVariant(name: string, scenarios: readonly Scenario[]): GracewalkError {
  const names = [...new Set(scenarios.flatMap((scenario) => variantNames(scenario)))];
  const meant = suggest(name, names);
  const [only] = scenarios;
  const where = scenarios.length === 1 && only ? only.id : `these ${scenarios.length} scenarios`;
  const list = names.map((variant) => `'${variant}'`).join(', ');
  return new GracewalkError('E106', `no variant '${name}' in ${where}`, {
    notes: [`there ${names.length === 1 ? 'is' : 'are'} ${list}`],
    help: meant === null ? 'leave out --variant to check them all' : `did you mean '${meant}'?`,
  });
}
