import type { Exploration } from '../explore/exploration.ts';
import { explore } from '../explore/explore.ts';
import type { Scenario } from '../scenario/scenario.ts';
import type { Diagram } from './diagram.ts';
import { questionOf, type Meaning, type Question } from './question.ts';
import { sampled, watched } from './search.ts';
import { Vocabulary } from './vocabulary.ts';

export interface UnderstandOptions extends Pick<Meaning, 'plainCalls' | 'fixTypos'> {
  /** How messages call the question. */
  readonly title: string;
  /** At most so many steps for a variant's names. */
  readonly steps: number;
  /** Polled: the name of a limit that was hit, or null. */
  readonly watch: (soFar: Exploration) => string | null;
}

/**
 * What a diagram asks of a variant. Names are looked up in some runs of it. What is not found there is looked
 * for in all of them, and in the other variants: a function that this one lacks is no typing error.
 */
export function understand(
  scenario: Scenario,
  variant: string,
  diagram: Diagram,
  options: UnderstandOptions,
): { readonly question: Question; readonly stopped: string | null } {
  const { title: name, plainCalls, fixTypos } = options;
  const own = new Vocabulary();
  sampled(scenario, variant, own.check);
  const strict = { name, plainCalls, fixTypos: false, others: [] };
  const first = questionOf(diagram, { ...strict, own });
  if (first.errors.length === 0) return { question: first, stopped: null };
  const all = lookUp(scenario, variant, options);
  const second = questionOf(diagram, { ...strict, own: all.vocabulary });
  if (second.errors.length === 0) return { question: second, stopped: all.stopped };
  const others = Object.keys(scenario.definition.variants)
    .filter((other) => other !== variant)
    .map((other) => lookUp(scenario, other, options));
  const meaning = { ...strict, fixTypos, own: all.vocabulary };
  return {
    question: questionOf(diagram, {
      ...meaning,
      others: others.map(({ vocabulary }) => vocabulary),
    }),
    stopped: [all, ...others].find(({ stopped }) => stopped !== null)?.stopped ?? null,
  };
}

interface LookedUp {
  readonly vocabulary: Vocabulary;
  /** The limit that ended it early. */
  readonly stopped: string | null;
}

/** All that the variant can do. */
function lookUp(
  scenario: Scenario,
  variant: string,
  { steps, watch }: UnderstandOptions,
): LookedUp {
  const known = vocabularies.get(scenario) ?? new Map<string, LookedUp>();
  vocabularies.set(scenario, known);
  const complete = known.get(variant);
  if (complete) return complete;
  const vocabulary = new Vocabulary();
  const program = watched(scenario, variant, vocabulary.check);
  const { stopped } = explore(program, { maxSteps: steps, watch });
  const found = { vocabulary, stopped };
  if (stopped === null) known.set(variant, found);
  return found;
}

/** A question asks several variants for the same names. */
const vocabularies: WeakMap<Scenario, Map<string, LookedUp>> = new WeakMap();
