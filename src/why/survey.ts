import { GracewalkError } from '../base/errors.ts';
import { nop, type Scenario, type Variant } from '../scenario/scenario.ts';
import { withoutProtections } from './altered.ts';
import { tryVariant, type Trial } from './trial.ts';

/**
 * Which protections are needed at all? The same experiments as `why`, over many variants at once, and with less
 * asked of each: whether anything goes wrong without a set, not what all. So each stops at its first violation.
 */

/** What happens without a set: a kind of violation, after so many runs; nothing; or it is not known. */
export type Outcome =
  | { readonly kind: string; readonly runs: number }
  | { readonly safe: true }
  | { readonly undecided: string };

/** A safe variant and what becomes of it without each of its protections alone. */
export interface Surveyed {
  readonly scenario: string;
  readonly variant: string;
  /** Of the variant as it is. */
  readonly runs: number;
  readonly protections: readonly {
    readonly name: string;
    /** Protections that it is always a part of. */
    readonly partOf: readonly string[];
    readonly alone: Outcome;
  }[];
}

/** Steps of one exploration. None that is not hopeless takes as many. */
export const STEPS = 1_000_000;

export function survey(scenario: Scenario, variant: string): Surveyed {
  const { protections, runs } = tried(scenario, variant);
  return {
    scenario: scenario.id,
    variant,
    runs,
    protections: [...protections].map(([name, outer]) => ({
      name,
      partOf: [...outer],
      alone: without(scenario, variant, [name]),
    })),
  };
}

/** What becomes of the variant without a set of protections. */
export function without(scenario: Scenario, variant: string, set: readonly string[]): Outcome {
  try {
    const trial = tried(withoutProtections(scenario, variant, set), variant);
    const [effect] = trial.effects.keys();
    if (effect !== undefined) return { kind: effect, runs: trial.runs };
    return trial.stopped === null ? { safe: true } : { undecided: trial.stopped };
  } catch (error) {
    if (!(error instanceof GracewalkError)) throw error;
    return { undecided: error.message };
  }
}

/**
 * With whom a protection that is not needed alone may share the weight. One that is needed alone is not among
 * them, for the variant fails without it anyway; nor is a part of the other.
 */
export function partners({ protections }: Surveyed, name: string): string[] {
  const isPart = (part: string, whole: string): boolean =>
    protections.some((each) => each.name === part && each.partOf.includes(whole));
  return protections
    .filter((other) => other.name !== name && 'safe' in other.alone)
    .map((other) => other.name)
    .filter((other) => !isPart(name, other) && !isPart(other, name));
}

/**
 * Protections that a failing variant does without: those it names, and those of which it patches the only place to
 * nothing, if nothing is what is left of them.
 */
export function missing(scenario: Scenario, variant: string): string[] {
  const { without: named = [], patches = [] } = scenario.definition.variants[
    variant
  ] as Variant<unknown>;
  const kinds = patches.flatMap(({ target, replacement }) => {
    const { protects } = target.options;
    return replacement === nop && protects?.without === undefined ? [protects?.what] : [];
  });
  const met = kinds.length > 0 ? [...tried(scenario, variant).protections.keys()] : [];
  const patched = kinds.flatMap((kind) => {
    const places = met.filter((name) => name === kind || name.startsWith(`${String(kind)} in `));
    return places.length === 1 ? places : [];
  });
  return [...named, ...patched];
}

function tried(scenario: Scenario, variant: string): Trial {
  const how = { runs: Infinity, steps: STEPS, watch: () => null, traced: false } as const;
  return tryVariant(scenario, variant, { ...how, wanted: 'any' });
}
