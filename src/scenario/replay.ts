import { GracewalkError } from '../base/errors.ts';
import { columnsOf } from './facts.ts';
import { buildVariant, definitionOf } from './program.ts';
import { replayRun } from './record.ts';
import type { RunReport } from './result.ts';
import type { Scenario } from './scenario.ts';

/** Follows the schedule of a token in the present version of the scenario. */
export function replayToken(scenario: Scenario, name: string, schedule: string): RunReport {
  const definition = definitionOf(scenario, name);
  const letter = /(?:^|\.)o([A-Z])/.exec(schedule)?.[1];
  const observer = letter === undefined ? 0 : letter.charCodeAt(0) - 65;
  const observed =
    letter === undefined ? undefined : Object.entries(definition.always ?? {})[observer];
  const { program } = buildVariant(scenario, name, {
    traced: true,
    ...(observed
      ? { observe: { name: observed[0], predicate: observed[1], mode: 'always' as const } }
      : {}),
  });
  const run = replayRun(program, schedule, {
    columns: columnsOf(definition),
    minimal: 'global',
    kind: null,
    observer,
  });
  if (run.violation) return run;
  throw new GracewalkError('E601', 'the run of this token no longer violates anything', {
    notes: ['its steps are possible as they were; what they led to has changed'],
    help: 'run `check` again for a token of the present version',
  });
}
