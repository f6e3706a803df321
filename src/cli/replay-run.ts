import { GracewalkError } from '../base/errors.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { replayToken } from '../scenario/replay.ts';
import { variantFingerprint } from '../scenario/facts.ts';
import { underModel, type Scenario } from '../scenario/scenario.ts';
import { parseToken, type Token } from '../scenario/token.ts';
import { MODELS } from './options.ts';
import type { Replayed } from './protocol.ts';
import { findVariant } from './variants.ts';

/** Runs a token's schedule again, as far as the scenario still is what it was. */
export function replay(
  declared: Scenario,
  text: string,
  model: MemoryModel | null = null,
): Replayed {
  const token = parseToken(text);
  if (declared.id !== token.scenario) throw otherScenario(declared, token);
  const variant = findVariant(declared, token.variant);
  const scenario = model === null ? asFound(declared, variant, token) : underModel(declared, model);
  const fingerprint = variantFingerprint(scenario, variant);
  const otherVersion = fingerprint === token.fingerprint ? null : fingerprint;
  try {
    const run = replayToken(scenario, variant, token.schedule);
    // What the token was for nobody knows; in the version that it is from, it may have been harmless.
    if (!run.violation && otherVersion !== null) throw harmlessNow();
    return { scenario: scenario.id, variant, token: text, run, otherVersion };
  } catch (error) {
    if (otherVersion === null || !(error instanceof GracewalkError)) throw error;
    throw otherVersionError(token, otherVersion, error);
  }
}

/** The scenario under the memory model that the token's run was found under, as far as it tells. */
function asFound(declared: Scenario, variant: string, { fingerprint }: Token): Scenario {
  const under = MODELS.map((model) => underModel(declared, model));
  const same = (scenario: Scenario): boolean =>
    variantFingerprint(scenario, variant) === fingerprint;
  return [declared, ...under].find(same) ?? declared;
}

function otherScenario(scenario: Scenario, token: Token): GracewalkError {
  return new GracewalkError('E601', `the token is about ${token.scenario}`, {
    notes: [`the file has the scenario ${scenario.id}`],
    help: `name the file of ${token.scenario} after the token`,
  });
}

function harmlessNow(): GracewalkError {
  return new GracewalkError('E601', 'the run of this token violates nothing', {
    notes: ['its steps are possible as they were; what they lead to may have changed'],
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
