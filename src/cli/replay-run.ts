import { GracewalkError } from '../base/errors.ts';
import { replayToken } from '../scenario/replay.ts';
import { variantFingerprint } from '../scenario/facts.ts';
import type { Scenario } from '../scenario/scenario.ts';
import { parseToken, type Token } from '../scenario/token.ts';
import type { Replayed } from './protocol.ts';
import { findVariant } from './variants.ts';

/** Runs a token's schedule again, as far as the scenario still is what it was. */
export function replay(scenario: Scenario, text: string): Replayed {
  const token = parseToken(text);
  if (scenario.id !== token.scenario) throw otherScenario(scenario, token);
  const variant = findVariant(scenario, token.variant);
  const fingerprint = variantFingerprint(scenario, variant);
  const otherVersion = fingerprint === token.fingerprint ? null : fingerprint;
  try {
    const run = replayToken(scenario, variant, token.schedule);
    return { scenario: scenario.id, variant, token: text, run, otherVersion };
  } catch (error) {
    if (otherVersion === null || !(error instanceof GracewalkError)) throw error;
    throw otherVersionError(token, otherVersion, error);
  }
}

function otherScenario(scenario: Scenario, token: Token): GracewalkError {
  return new GracewalkError('E601', `the token is about ${token.scenario}`, {
    notes: [`the file has the scenario ${scenario.id}`],
    help: `name the file of ${token.scenario} after the token`,
  });
}

function otherVersionError(token: Token, here: string, why: GracewalkError): GracewalkError {
  return new GracewalkError('E601', `token is from another version of ${token.scenario}`, {
    ...why.details,
    notes: [
      `token @${token.fingerprint}, here @${here}`,
      why.message,
      ...(why.details.notes ?? []),
    ],
    help: 'check the scenario again for a token of this version',
  });
}
