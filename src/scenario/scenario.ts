import type { Site } from '../base/errors.ts';
import { parseStack } from '../base/site.ts';
import type { ArchDescriptor, KernelConfig } from '../machine/arch.ts';
import type { Patch } from '../machine/fn.ts';
import type { Machine } from '../machine/machine.ts';
import type { Steps } from '../machine/op.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import type { ViolationKind } from '../machine/violation.ts';
import type { Predicate, StatePredicate } from './predicates.ts';
import { validate } from './validate.ts';

/**
 * The authoring API. A scenario is one question: who does what on which machine, in several variants with
 * the verdict that each must have.
 */

/** The machine to build: `gracewalk/arch` makes these. */
export interface MachineSpecification {
  readonly name: string;
  readonly title: string;
  readonly arch: ArchDescriptor;
  readonly cpus: readonly { readonly name: string; readonly virtual: boolean }[];
  /** How often the host takes each vCPU off its processor. */
  readonly preempt: Readonly<Record<string, number>>;
}

/** What an actor does: a function of the state that `setup` made. */
// Declared as a method, so that `safe()`, which knows no state, fits every scenario.
export type ActorBody<S> = { body(state: S): Steps<unknown> }['body'];

/** What the allocator answers: `either` explores both. */
export interface AllocationSettings {
  readonly GFP_NOWAIT?: 'ok' | 'fails' | 'either';
}

export interface ScenarioDefinition<S> {
  /** For the museum of bugs: what it is called, where it was fixed, and what happened. All three or none. */
  readonly title?: string;
  readonly citation?: string;
  readonly story?: string;
  readonly machine: MachineSpecification;
  /** `sc` (the default): every store is in memory at once. `tso`: store buffers, as x86 has them. */
  readonly model?: MemoryModel;
  readonly config?: Partial<KernelConfig>;
  readonly alloc?: AllocationSettings;
  /** Makes the initial state. Runs once per exploration, before the first step. */
  readonly setup: (machine: Machine) => S;
  /**
   * The actors. A key is a column header and a CPU: `CPU0`, or `CPU0/khugepaged` for one of several tasks
   * that share a CPU.
   */
  readonly run: Readonly<Record<string, ActorBody<S>>>;
  /** What the host of a virtual machine does to a vCPU, so many times (`kvm_host`). */
  readonly host?: (machine: Machine, vcpu: number, times: number) => Steps<void>;
  /** How many freed frames an owner outside the scenario may take, whenever there are any. */
  readonly foreign?: number;
  /** Invariants of the state, checked at every cut. */
  readonly always?: Readonly<Record<string, StatePredicate<S>>>;
  /** What must be seen in at least one run, or the verdict is `vacuous`. */
  readonly sometimes: Readonly<Record<string, Predicate<S>>>;
  readonly variants: Readonly<Record<string, Variant<S>>>;
  /** Diagrams by title: what `gracewalk ask` answers if it is given none. */
  readonly ask?: Readonly<Record<string, string>>;
}

export interface VariantOptions<S = never> {
  /** Ids of what the variant shows: mutations, schedules and configurations of the specification, bugs. */
  readonly shows?: readonly string[];
  readonly model?: MemoryModel;
  readonly config?: Partial<KernelConfig>;
  readonly alloc?: AllocationSettings;
  readonly foreign?: number;
  readonly patches?: readonly Patch[];
  /** Protections that are taken away, by the names that `gracewalk why` gives them. */
  readonly without?: readonly string[];
  readonly machine?: MachineSpecification;
  /** Another initial state of the same shape. */
  readonly setup?: (machine: Machine) => S;
  readonly run?: Readonly<Record<string, ActorBody<S>>>;
}

export interface Variant<S> extends VariantOptions<S> {
  readonly expected: 'safe' | 'fails';
  /** Each of them must occur and no other. None with `fails`: any, which only `--expect fails` says. */
  readonly kinds: readonly ViolationKind[];
}

/** Where variants were declared, for what is wrong with them. */
const declaredAt: WeakMap<object, Site> = new WeakMap();

function declared<S>(variant: Variant<S>): Variant<S> {
  const site = authorsSite();
  if (site) declaredAt.set(variant, site);
  return variant;
}

/** The first position that is not in this file. */
function authorsSite(): Site | undefined {
  return parseStack(new Error().stack ?? '').find(
    ({ file }) => !/\/scenario\/scenario\.[jt]s$/.test(file),
  );
}

/** The variant is correct: every run is explored and nothing is found. */
export function safe<S = never>(options: VariantOptions<S> = {}): Variant<S> {
  return declared({ ...options, expected: 'safe', kinds: [] });
}

/** The variant is broken: each of these kinds of violation occurs, and no other. */
export function fails<S = never>(
  kinds: ViolationKind | readonly ViolationKind[],
  options: VariantOptions<S> = {},
): Variant<S> {
  const list = typeof kinds === 'string' ? [kinds] : kinds;
  return declared({ ...options, expected: 'fails', kinds: list });
}

/** A function that does nothing, for `patch(local_irq_save, nop)`. */
export function* nop(): Steps<never> {
  return undefined as never;
}

const brand: unique symbol = Symbol('gracewalk.scenario');

export interface Scenario {
  readonly [brand]: true;
  readonly id: string;
  // The state's type is the author's business; everything here passes it on unseen.
  readonly definition: ScenarioDefinition<unknown>;
  /** Where `scenario()` was called. */
  readonly site: Site | null;
}

/** Declares a scenario; a scenario file's default export. */
export function scenario<S>(id: string, definition: ScenarioDefinition<S>): Scenario {
  const site = authorsSite();
  const at = (variant: unknown): Site | undefined =>
    (typeof variant === 'object' && variant ? declaredAt.get(variant) : undefined) ?? site;
  validate(id, definition as unknown as ScenarioDefinition<unknown>, site, at);
  return Object.freeze({
    [brand]: true as const,
    id,
    definition: definition as unknown as ScenarioDefinition<unknown>,
    site: site ?? null,
  });
}

/** The scenario with all its variants under one memory model, whatever they say. */
export function underModel(declared: Scenario, model: MemoryModel): Scenario {
  const variants = Object.entries(declared.definition.variants).map(
    ([name, variant]) => [name, { ...variant, model }] as const,
  );
  const definition = { ...declared.definition, variants: Object.fromEntries(variants) };
  return Object.freeze({ ...declared, definition });
}

export function isScenario(value: unknown): value is Scenario {
  return typeof value === 'object' && value !== null && brand in value;
}
