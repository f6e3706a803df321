import { minimalRun } from '../explore/minimal.ts';
import type { ViolationKind } from '../machine/violation.ts';
import { MINIMAL_STATES, MINIMAL_SWITCHES } from './check.ts';
import { columnsOf } from './facts.ts';
import { followRun } from './follow.ts';
import { importSteps, type ImportedStep } from './import.ts';
import { buildVariant, definitionOf, type Observation } from './program.ts';
import { Recorder, recordRun, replayRun, type RecordOptions } from './record.ts';
import type { RunReport, Stop } from './result.ts';
import type { Scenario } from './scenario.ts';

/** What can be done with the schedule of a token in the present version of its scenario. */

/** Follows it. `ask` gives tokens of runs that violate nothing. */
export function replayToken(scenario: Scenario, name: string, schedule: string): RunReport {
  return replayed(scenario, name, schedule).report();
}

/** Follows the steps that a JSON document tells, by names. */
export function replaySteps(
  scenario: Scenario,
  name: string,
  steps: readonly ImportedStep[],
  object: string | null,
): RunReport {
  const always = Object.keys(definitionOf(scenario, name).always ?? {});
  const at = steps.some(({ op }) => op === 'observe') ? always.indexOf(object ?? '') : -1;
  const run = recorder(scenario, name, at < 0 ? null : observedAs(scenario, name, at));
  importSteps(run, steps);
  return run.report();
}

/** Follows it in another variant, by names, as far as it goes. */
export function followToken(
  scenario: Scenario,
  name: string,
  schedule: string,
  other: string,
): { readonly run: RunReport; readonly stop: Stop | null } {
  const observed = observedBy(scenario, name, schedule);
  const target = recorder(scenario, other, observed);
  const stop = followRun(replayed(scenario, name, schedule), target);
  return { run: target.report(), stop };
}

/** The run with the fewest context switches, then steps, that violates in the same way; null: there is none. */
export function minimizeToken(
  scenario: Scenario,
  name: string,
  kind: ViolationKind | null,
  schedule: string | null,
  shouldStop: () => boolean,
): RunReport | null {
  const always = Object.keys(definitionOf(scenario, name).always ?? {});
  const observed = schedule === null ? null : observedBy(scenario, name, schedule);
  const all = observed
    ? [observed]
    : [null, ...always.map((_title, at) => observedAs(scenario, name, at))];
  for (const observe of all) {
    const { run } = minimalRun(build(scenario, name, observe), {
      wanted: (violation) => kind === null || violation.kind === kind,
      maxSwitches: MINIMAL_SWITCHES,
      maxStates: MINIMAL_STATES,
      shouldStop,
    });
    if (!run) continue;
    const options = { ...recording(scenario, name, observe), kind: run.violation?.kind ?? null };
    return recordRun(build(scenario, name, observe), run.schedule, options);
  }
  return null;
}

interface Observed extends Observation {
  /** Its place among the scenario's `always`. */
  readonly at: number;
}

function replayed(scenario: Scenario, name: string, schedule: string): Recorder {
  const observed = observedBy(scenario, name, schedule);
  return replayRun(build(scenario, name, observed), schedule, recording(scenario, name, observed));
}

/** The state predicate that the schedule has an observer of. */
function observedBy(scenario: Scenario, name: string, schedule: string): Observed | null {
  const letter = /(?:^|\.)o([A-Z])/.exec(schedule)?.[1];
  return letter === undefined ? null : observedAs(scenario, name, letter.charCodeAt(0) - 65);
}

function observedAs(scenario: Scenario, name: string, at: number): Observed | null {
  const found = Object.entries(definitionOf(scenario, name).always ?? {})[at];
  return found ? { name: found[0], predicate: found[1], mode: 'always', at } : null;
}

function build(
  scenario: Scenario,
  name: string,
  observe: Observed | null,
): ReturnType<typeof buildVariant>['program'] {
  return buildVariant(scenario, name, { traced: true, ...(observe ? { observe } : {}) }).program;
}

function recording(scenario: Scenario, name: string, observe: Observed | null): RecordOptions {
  return {
    columns: columnsOf(definitionOf(scenario, name)),
    minimal: 'global',
    kind: null,
    observer: observe?.at ?? 0,
  };
}

function recorder(scenario: Scenario, name: string, observe: Observed | null): Recorder {
  return new Recorder(build(scenario, name, observe), recording(scenario, name, observe));
}
