import type { Outcome, Outcomes } from './outcome.ts';
import { phrase } from './verdict.ts';

/**
 * `--quiet`: one line per variant that is not as declared, nothing if all are. A token is the last word of
 * its line. Errors have been told in full on stderr; a line says which variant has no result because of one.
 */
export function renderQuiet({ scenarios }: Outcomes): string {
  return scenarios
    .flatMap(({ scenario, outcomes }) =>
      outcomes
        .filter((outcome) => outcome.kind !== 'result' || !outcome.result.ok)
        .map((outcome) => `${scenario} / ${outcome.variant}: ${complaint(outcome)}\n`),
    )
    .join('');
}

function complaint(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'result': {
      const { token } = outcome.result;
      return `${phrase(outcome.result)}${token === null ? '' : ` ${token}`}`;
    }
    case 'error':
      return `error${outcome.error.code === null ? '' : ` ${outcome.error.code}`}, ${outcome.error.what}`;
    case 'not-checked':
      return 'not checked';
  }
}
