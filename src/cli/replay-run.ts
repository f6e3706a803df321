import { GracewalkError } from '../base/errors.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { machineArch } from '../arch/machines.ts';
import { onMachine } from '../scenario/on-machine.ts';
import { followToken, minimizeToken, replaySteps, replayToken } from '../scenario/replay.ts';
import type { RunReport } from '../scenario/result.ts';
import { variantFingerprint } from '../scenario/facts.ts';
import { underModel, type Scenario } from '../scenario/scenario.ts';
import { formatToken, parseToken, type Token } from '../scenario/token.ts';
import { MODELS } from './options.ts';
import type { ReplayJob, Replayed } from './protocol.ts';
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
    return { ...plain(scenario, variant, text, run), otherVersion };
  } catch (error) {
    if (otherVersion === null || !(error instanceof GracewalkError)) throw error;
    throw otherVersionError(token, otherVersion, error);
  }
}

function plain(scenario: Scenario, variant: string, token: string, run: RunReport): Replayed {
  const where = { scenario: scenario.id, variant, token, run };
  return { ...where, otherVersion: null, followed: null, before: null };
}

/** Everything that `gracewalk replay` does with a run, beyond drawing it. */
export function replayJob(declared: Scenario, job: ReplayJob, stopped: () => boolean): Replayed {
  const { wanted, model, machine, on } = job;
  const there = machine === null ? declared : onMachine(declared, machineArch(machine));
  if (declared.id !== wanted.scenario) throw otherScenario(declared, wanted);
  if (job.minimize) return minimized(there, job, stopped);
  if (on !== null) return followed(there, job, on);
  if (wanted.steps.length === 0) return replay(there, wanted.token ?? '', model);
  return imported(there, job);
}

/** From a document: by its token if that still fits, else by the names of its steps. */
function imported(declared: Scenario, { wanted, model }: ReplayJob): Replayed {
  try {
    if (wanted.token !== null) return replay(declared, wanted.token, model);
  } catch (error) {
    if (!(error instanceof GracewalkError) || error.code !== 'E601') throw error;
  }
  const scenario = model === null ? declared : underModel(declared, model);
  const variant = findVariant(scenario, wanted.variant);
  const run = replaySteps(scenario, variant, wanted.steps, wanted.object);
  return plain(scenario, variant, tokenOf(scenario, variant, run), run);
}

function tokenOf(scenario: Scenario, variant: string, { schedule }: RunReport): string {
  const fingerprint = variantFingerprint(scenario, variant);
  return formatToken({ scenario: scenario.id, variant, fingerprint, schedule });
}

function followed(declared: Scenario, job: ReplayJob, on: string): Replayed {
  const before = imported(declared, job);
  const { variant: from, token } = before;
  const found = parseToken(token);
  const scenario =
    job.model === null ? asFound(declared, from, found) : underModel(declared, job.model);
  const variant = findVariant(scenario, on);
  const { run, stop } = followToken(scenario, from, found.schedule, variant);
  return { ...before, variant, run, followed: { from, variant, stop } };
}

function minimized(declared: Scenario, job: ReplayJob, stopped: () => boolean): Replayed {
  const { wanted, model } = job;
  const name = findVariant(declared, wanted.variant);
  let old: RunReport | null = null;
  let why: string | null = null;
  try {
    old = imported(declared, job).run;
  } catch (error) {
    if (!(error instanceof GracewalkError) || error.code !== 'E601') throw error;
    why = error.message;
  }
  const token = wanted.token === null ? null : parseToken(wanted.token);
  const scenario =
    model !== null
      ? underModel(declared, model)
      : token === null
        ? declared
        : asFound(declared, name, token);
  const kind = old?.violation?.kind ?? wanted.kind;
  const schedule = old ? old.schedule : null;
  const run = minimizeToken(scenario, name, kind, schedule, stopped);
  if (run === null) {
    throw new GracewalkError('E601', `no run of '${name}' violates ${kind ?? 'anything'}`, {
      notes: [why ?? 'the search for the shortest run found none'],
      help: 'run `check` on the present version',
    });
  }
  const before = old ? { switches: old.switches, steps: old.steps.length } : why;
  return { ...plain(scenario, name, tokenOf(scenario, name, run), run), before };
}

/** The scenario under the memory model that the token's run was found under, as far as it tells. */
function asFound(declared: Scenario, variant: string, { fingerprint }: Token): Scenario {
  const under = MODELS.map((model) => underModel(declared, model));
  const same = (scenario: Scenario): boolean =>
    variantFingerprint(scenario, variant) === fingerprint;
  return [declared, ...under].find(same) ?? declared;
}

function otherScenario(scenario: Scenario, token: Pick<Token, 'scenario'>): GracewalkError {
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
