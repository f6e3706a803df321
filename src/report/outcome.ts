import type { PrintableError } from './error-text.ts';
import type { VariantResult } from '../scenario/result.ts';

/** What became of a variant that was to be checked: a result, an error, or nothing, as the check ended before. */
export type Outcome =
  | { readonly kind: 'result'; readonly variant: string; readonly result: VariantResult }
  | { readonly kind: 'error'; readonly variant: string; readonly error: PrintableError }
  | { readonly kind: 'not-checked'; readonly variant: string };

/** A scenario's variants in its own order, whatever became of them. */
export interface ScenarioOutcomes {
  readonly scenario: string;
  readonly outcomes: readonly Outcome[];
}

/** An error that is about no variant: a file, an argument, or the search itself. */
export interface Refusal {
  readonly about: string;
  readonly error: PrintableError;
}

/** All that a check came to. */
export interface Outcomes {
  readonly scenarios: readonly ScenarioOutcomes[];
  readonly refusals: readonly Refusal[];
}
