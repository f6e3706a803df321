import { minimalRun } from '../explore/minimal.ts';
import type { Program, Schedule } from '../explore/run.ts';
import { MINIMAL_STATES, MINIMAL_SWITCHES } from '../scenario/check.ts';
import { columnsOf } from '../scenario/facts.ts';
import { buildVariant, definitionOf } from '../scenario/program.ts';
import { recordRun } from '../scenario/record.ts';
import type { RunReport } from '../scenario/result.ts';
import type { Scenario } from '../scenario/scenario.ts';
import { orderOf } from './order.ts';
import type { Failure } from './result.ts';
import { effectOf, pageTables, type Effect } from './trial.ts';

function programOf(scenario: Scenario, name: string, { observe }: Effect): Program {
  return buildVariant(scenario, name, { traced: true, ...(observe ? { observe } : {}) }).program;
}

/** The shortest run that shows an effect: fewest switches between columns, then fewest steps. */
function shortest(
  scenario: Scenario,
  name: string,
  effect: string,
  found: Effect,
  shouldStop: () => boolean,
): { readonly run: RunReport; readonly schedule: Schedule } {
  const { observe, kind } = found;
  const definition = definitionOf(scenario, name);
  const program = programOf(scenario, name, found);
  const tables = pageTables(program.machine);
  const { run: minimal } = minimalRun(program, {
    wanted: (violation) => effectOf(violation, tables()) === effect,
    maxSwitches: MINIMAL_SWITCHES,
    maxStates: MINIMAL_STATES,
    shouldStop,
  });
  const schedule = minimal?.schedule ?? found.schedule;
  const run = recordRun(programOf(scenario, name, found), schedule, {
    columns: columnsOf(definition),
    minimal: minimal ? 'global' : 'within-run',
    kind,
    observer: Math.max(0, Object.keys(definition.always ?? {}).indexOf(observe?.name ?? '')),
  });
  return { run, schedule };
}

export function shortestRun(...args: Parameters<typeof shortest>): RunReport {
  return shortest(...args).run;
}

/** How a failing variant fails: its shortest run, and what comes before what in it. */
export function failureOf(
  scenario: Scenario,
  name: string,
  effect: string,
  found: Effect,
  shouldStop: () => boolean,
): Failure {
  const { run, schedule } = shortest(scenario, name, effect, found, shouldStop);
  const order = orderOf(programOf(scenario, name, found), schedule);
  const shown = order.filter((pair) => pair.every((n) => run.steps[n - 1]?.ghost === false));
  return { effect, run, order: shown };
}
