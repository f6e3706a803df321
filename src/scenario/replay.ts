import { columnsOf } from './facts.ts';
import { buildVariant, definitionOf } from './program.ts';
import { replayRun } from './record.ts';
import type { RunReport } from './result.ts';
import type { Scenario } from './scenario.ts';

/** Follows the schedule of a token in the present version of the scenario. `ask` gives tokens of harmless runs. */
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
  return replayRun(program, schedule, {
    columns: columnsOf(definition),
    minimal: 'global',
    kind: null,
    observer,
  });
}
