import type { ExecutedStep, Program, ProgramActor, StepCheck } from '../explore/run.ts';
import type { Actor } from '../machine/actor.ts';
import type { PatchTable } from '../machine/fn.ts';
import { Machine } from '../machine/machine.ts';
import { foreign_owner } from '../machine/ops/pages.ts';
import { defineOp, perform, type Steps } from '../machine/op.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { all_sanitizers } from '../sanitizers/index.ts';
import {
  View,
  isOnlyIn,
  type BarePredicate,
  type StatePredicate,
  type StepPredicate,
} from './predicates.ts';
import { judge, setUp } from './plain.ts';
import type { Scenario, ScenarioDefinition, Variant } from './scenario.ts';

/** Turns a variant of a scenario into a program that the explorer can run. */
export interface BuiltVariant {
  readonly program: Program;
  readonly state: unknown;
  /** Step predicates that are watched, and which of them have held in some run. */
  readonly seen: Set<string>;
  /** State predicates under `sometimes`: need an observer to be refuted. */
  readonly stateSometimes: ReadonlyMap<string, StatePredicate<unknown>>;
  readonly stepSometimes: readonly string[];
}

export interface Observation {
  readonly name: string;
  readonly predicate: StatePredicate<unknown>;
  /** `always` reports a violation where the predicate does not hold; `sometimes` notes that it does. */
  readonly mode: 'always' | 'sometimes';
}

/** A scenario as one of its variants has it. */
export type VariantDefinition = ScenarioDefinition<unknown> & { readonly model: MemoryModel };

export function definitionOf(scenario: Scenario, name: string): VariantDefinition {
  const base = scenario.definition;
  const variant = base.variants[name] as Variant<unknown>;
  return {
    ...base,
    machine: variant.machine ?? base.machine,
    model: variant.model ?? base.model ?? 'sc',
    run: variant.run ?? base.run,
    setup: variant.setup ?? base.setup,
    ...(variant.foreign === undefined ? {} : { foreign: variant.foreign }),
    config: { ...base.config, ...variant.config },
    alloc: { ...base.alloc, ...variant.alloc },
  };
}

/** The predicates under `sometimes` that apply to the variant. */
export function witnesses(
  definition: ScenarioDefinition<unknown>,
  variant: string,
): Map<string, BarePredicate<unknown>> {
  const result = new Map<string, BarePredicate<unknown>>();
  for (const [name, predicate] of Object.entries(definition.sometimes)) {
    if (!isOnlyIn(predicate)) result.set(name, predicate);
    else if (predicate.variants.includes(variant)) result.set(name, predicate.predicate);
  }
  return result;
}

/** A fresh machine in the variant's initial state. `observe` adds an observer for a state predicate. */
export function buildVariant(
  scenario: Scenario,
  name: string,
  options: { readonly traced: boolean; readonly observe?: Observation },
): BuiltVariant {
  const definition = definitionOf(scenario, name);
  const variant = scenario.definition.variants[name] as Variant<unknown>;
  const spec = definition.machine;
  const machine = new Machine({
    arch: spec.arch,
    model: definition.model,
    cpus: spec.cpus,
    sanitizers: all_sanitizers,
    settings: { config: definition.config, gfp_nowait: definition.alloc?.GFP_NOWAIT },
  });
  const all = witnesses(definition, name);
  const steps = new Map<string, StepPredicate<unknown>>();
  const states = new Map<string, StatePredicate<unknown>>();
  for (const [title, predicate] of all) {
    if (typeof predicate === 'function') states.set(title, predicate);
    else steps.set(title, predicate);
  }
  machine.tracksLinks = [...steps.values()].some((predicate) => predicate.needsLinks);
  const state = setUp(() => definition.setup(machine));
  const seen = new Set<string>();
  const actors = [
    ...tasks(machine, definition, state),
    ...hosts(machine, definition),
    ...foreigners(machine, definition.foreign ?? 0),
  ];
  if (options.observe) actors.push(observer(machine, state, options.observe, seen));
  return {
    program: {
      machine,
      actors,
      patches: patchTable(variant),
      traced: options.traced,
      stepChecks: [watcher(steps, state, seen)],
    },
    state,
    seen,
    stateSometimes: states,
    stepSometimes: [...steps.keys()],
  };
}

function patchTable({ patches = [], without }: Variant<unknown>): PatchTable {
  const table = new Map(patches.map(({ target, replacement }) => [target as unknown, replacement]));
  return Object.assign(table, without ? { without: new Set(without) } : {});
}

function watcher(
  predicates: ReadonlyMap<string, StepPredicate<unknown>>,
  state: unknown,
  seen: Set<string>,
): StepCheck {
  // Evaluated in every run, also once seen: whether a step has a footprint must not depend on the past.
  return (machine: Machine, step: ExecutedStep) => {
    for (const [name, predicate] of predicates) {
      if (predicate.holds(machine, step, state)) seen.add(name);
    }
  };
}

function tasks(
  machine: Machine,
  definition: ScenarioDefinition<unknown>,
  state: unknown,
): ProgramActor[] {
  const keys = Object.keys(definition.run);
  const cpuOf = (key: string): string => key.split('/')[0] ?? key;
  return keys.map((key) => {
    const cpu = machine.cpus.findIndex(({ name }) => name === cpuOf(key));
    const actor = machine.addActor({
      name: key,
      column: key,
      cpu,
      kind: 'task',
      daemon: false,
      shared: keys.filter((other) => cpuOf(other) === cpuOf(key)).length > 1,
      creator: -1,
    });
    const body = definition.run[key] as (state: unknown) => Steps<unknown>;
    return { actor, begin: () => body(state) };
  });
}

function hosts(machine: Machine, definition: ScenarioDefinition<unknown>): ProgramActor[] {
  const { host } = definition;
  if (!host) return [];
  return Object.entries(definition.machine.preempt).map(([name, times]) => {
    const vcpu = machine.cpus.findIndex((cpu) => cpu.name === name);
    const actor = machine.addActor({ ...bystander(`host of ${name}`, name), kind: 'host' });
    return { actor, begin: () => host(machine, vcpu, times) };
  });
}

/** Everybody else on the machine, as far as the scenario notices them: they are given freed frames. */
function foreigners(machine: Machine, count: number): ProgramActor[] {
  if (count === 0) return [];
  const actor = machine.addActor({
    ...bystander('elsewhere', 'elsewhere'),
    kind: 'host',
    daemon: true,
  });
  return [{ actor, begin: () => foreign_owner(count) }];
}

function bystander(name: string, column: string): Omit<Actor, 'index' | 'kind'> {
  return { name, column, cpu: -1, daemon: false, shared: false, creator: -1 };
}

const observeOp = defineOp('observe', {
  ordering: 'none',
  exec: (_machine, _who, [evaluate]: [() => boolean]) => evaluate(),
  describe: (_machine, who, _args, holds) => ({
    comment: `'${who.name}' ${holds === true ? 'holds' : 'does not hold'} here`,
  }),
  ghost: true,
});

function observer(
  machine: Machine,
  state: unknown,
  observation: Observation,
  seen: Set<string>,
): ProgramActor {
  const { name, predicate, mode } = observation;
  const view = new View(machine, state, machine.cells);
  const actor = machine.addActor({ ...bystander(name, ''), kind: 'observer' });
  const evaluate = (): boolean => {
    const holds = judge(name, predicate, view);
    if (holds && mode === 'sometimes') seen.add(name);
    if (!holds && mode === 'always') {
      machine.violate({
        kind: 'property',
        actor: 'everyone',
        object: name,
        message: `'${name}' does not hold.`,
        stops: false,
      });
    }
    return holds;
  };
  return {
    actor,
    *begin() {
      yield* perform(observeOp, [evaluate]);
    },
  };
}
