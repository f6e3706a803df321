import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import { VIOLATION_KINDS, type ViolationKind } from '../machine/violation.ts';
import type { Scenario } from '../scenario/scenario.ts';
import type { Expectation } from './protocol.ts';

/** `--expect`: another question about the same variants. `safe`, `fails` (with whatever), or kinds. */
export function parseExpectation(text: string): Expectation {
  if (text === 'safe') return { verdict: 'safe', kinds: [] };
  if (text === 'fails') return { verdict: 'fails', kinds: [] };
  return { verdict: 'fails', kinds: text.split(',').map((word) => parseKind(text, word.trim())) };
}

function parseKind(text: string, word: string): ViolationKind {
  const kind = VIOLATION_KINDS.find((each) => each === word);
  if (kind !== undefined) return kind;
  const meant = suggest(word, VIOLATION_KINDS);
  throw new GracewalkError('E107', `bad --expect '${text}'`, {
    notes: [`it is safe, fails, or kinds of violation: ${VIOLATION_KINDS.join(', ')}`],
    help: meant === null ? 'several kinds have commas between them' : `did you mean ${meant}?`,
  });
}

/** The scenario with another expectation of each of its variants; their fingerprints stay the same. */
export function expecting(scenario: Scenario, { verdict, kinds }: Expectation): Scenario {
  const { definition } = scenario;
  const variants = Object.fromEntries(
    Object.entries(definition.variants).map(([name, variant]) => [
      name,
      { ...variant, expected: verdict, kinds },
    ]),
  );
  return { ...scenario, definition: { ...definition, variants } };
}
