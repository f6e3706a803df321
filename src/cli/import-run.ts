import { existsSync, readFileSync } from 'node:fs';
import { GracewalkError } from '../base/errors.ts';
import { VIOLATION_KINDS } from '../machine/violation.ts';
import type { ImportedStep } from '../scenario/import.ts';
import { parseToken } from '../scenario/token.ts';
import type { ReplayWanted } from './protocol.ts';

/** What a person names to be replayed: a token, or a JSON document with a run in it. */
export function wantedRun(operand: string): ReplayWanted {
  if (operand.endsWith('.json')) return readRun(operand);
  const { scenario, variant } = parseToken(operand);
  return { token: operand, scenario, variant, kind: null, object: null, steps: [] };
}

/** `gracewalk.run/1` is a run; of `gracewalk.result/1` it is the first one that violates something. */
function readRun(file: string): ReplayWanted {
  const document = parsed(file);
  const results = Array.isArray(document['results'])
    ? (document['results'] as unknown[])
    : [document];
  const run = results
    .filter(isRecord)
    .find((each) => Array.isArray(each['steps']) && each['steps'].length > 0);
  if (!run) throw refused(file, 'it has no run: no `steps` of a failing variant');
  const { scenario, variant, token, violation } = run;
  if (typeof scenario !== 'string' || typeof variant !== 'string') {
    throw refused(file, 'it does not say which scenario and variant the run is of');
  }
  const kind = isRecord(violation)
    ? VIOLATION_KINDS.find((each) => each === violation['kind'])
    : null;
  return {
    scenario,
    variant,
    token: typeof token === 'string' ? token : null,
    kind: kind ?? null,
    object: isRecord(violation) ? String(violation['object']) : null,
    steps: (run['steps'] as unknown[]).map((step, at) => importedStep(file, step, at + 1)),
  };
}

function importedStep(file: string, step: unknown, n: number): ImportedStep {
  if (isRecord(step) && typeof step['actor'] === 'string' && typeof step['op'] === 'string') {
    const { actor, op, text, comment } = step;
    return {
      actor,
      op,
      text: typeof text === 'string' ? text : op,
      comment: typeof comment === 'string' ? comment : null,
    };
  }
  throw refused(file, `step ${n} has no \`actor\` and \`op\``);
}

function parsed(file: string): Record<string, unknown> {
  if (!existsSync(file))
    throw new GracewalkError('E114', `no file ${file}`, { help: 'check the path' });
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (isRecord(value)) return value;
  } catch (error) {
    throw refused(file, error instanceof Error ? error.message : String(error));
  }
  throw refused(file, 'it is no object');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refused(file: string, why: string): GracewalkError {
  return new GracewalkError('E602', `${file} is no run`, {
    notes: [why],
    help: 'a run is what `gracewalk replay TOKEN --json` prints, or `check --json` of a failing variant',
  });
}
