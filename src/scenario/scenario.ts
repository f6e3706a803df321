import { GracewalkError, type Site } from '../base/errors.ts';
import { parseStack } from '../base/site.ts';
import type { ArchDescriptor, KernelConfig } from '../machine/arch.ts';
import type { Patch } from '../machine/fn.ts';
import type { Machine } from '../machine/machine.ts';
import type { Steps } from '../machine/op.ts';
import type { ViolationKind } from '../machine/violation.ts';
import type { Predicate, StatePredicate } from './predicates.ts';

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
export type ActorBody<S> = (state: S) => Steps<unknown>;

/** What the allocator answers: `either` explores both. */
export interface AllocationSettings {
  readonly GFP_NOWAIT?: 'ok' | 'fails' | 'either';
}

export interface ScenarioDefinition<S> {
  readonly machine: MachineSpecification;
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
}

export interface VariantOptions<S = never> {
  readonly config?: Partial<KernelConfig>;
  readonly alloc?: AllocationSettings;
  readonly foreign?: number;
  readonly patches?: readonly Patch[];
  readonly machine?: MachineSpecification;
  /** Another initial state of the same shape. */
  readonly setup?: (machine: Machine) => S;
  readonly run?: Readonly<Record<string, ActorBody<S>>>;
}

export interface Variant<S> extends VariantOptions<S> {
  readonly expected: 'safe' | 'fails';
  readonly kinds: readonly ViolationKind[];
}

/** The variant is correct: every run is explored and nothing is found. */
export function safe<S = never>(options: VariantOptions<S> = {}): Variant<S> {
  return { ...options, expected: 'safe', kinds: [] };
}

/** The variant is broken: each of these kinds of violation occurs, and no other. */
export function fails<S = never>(
  kinds: ViolationKind | readonly ViolationKind[],
  options: VariantOptions<S> = {},
): Variant<S> {
  return { ...options, expected: 'fails', kinds: typeof kinds === 'string' ? [kinds] : kinds };
}

/** A function that does nothing, for `patch(local_irq_save, nop)`. */
// eslint-disable-next-line require-yield
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
  const site = parseStack(new Error().stack ?? '').find(
    ({ file }) => !/\/scenario\/scenario\.[jt]s$/.test(file),
  );
  validate(id, definition as unknown as ScenarioDefinition<unknown>, site);
  return Object.freeze({
    [brand]: true as const,
    id,
    definition: definition as unknown as ScenarioDefinition<unknown>,
    site: site ?? null,
  });
}

export function isScenario(value: unknown): value is Scenario {
  return typeof value === 'object' && value !== null && brand in value;
}

function refuse(
  code: string,
  what: string,
  site: Site | undefined,
  notes: string[],
  help: string,
): never {
  throw new GracewalkError(code, what, { site, notes, help });
}

function validate(
  id: string,
  definition: ScenarioDefinition<unknown>,
  site: Site | undefined,
): void {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(id)) {
    refuse(
      'E108',
      `'${id}' is no scenario id`,
      site,
      [],
      'use lower-case letters, digits and dashes',
    );
  }
  if (Object.keys(definition.variants ?? {}).length === 0) {
    refuse(
      'E108',
      `scenario ${id} has no variants`,
      site,
      [],
      "add `variants: { 'linux': safe() }`",
    );
  }
  for (const [name, variant] of Object.entries(definition.variants)) {
    checkActors(name, variant.machine ?? definition.machine, variant.run ?? definition.run, site);
    checkConfig(
      name,
      variant.machine ?? definition.machine,
      { ...definition.config, ...variant.config },
      site,
    );
    const spec = variant.machine ?? definition.machine;
    if (Object.keys(spec.preempt).length > 0 && !definition.host) {
      refuse(
        'E102',
        `the host of ${spec.name} has nothing to do`,
        site,
        [`machine ${spec.title} is preempted, but the scenario names no host`],
        'add `host: kvm_host` from gracewalk/linux',
      );
    }
  }
}

function checkActors(
  variant: string,
  spec: MachineSpecification,
  run: Readonly<Record<string, unknown>>,
  site: Site | undefined,
): void {
  const names = spec.cpus.map(({ name }) => name);
  const list = names.join(' and ');
  for (const key of [...Object.keys(run), ...Object.keys(spec.preempt)]) {
    const cpu = key.split('/')[0] ?? key;
    if (names.includes(cpu)) continue;
    const count = names.length + 1;
    refuse(
      'E102',
      `no actor '${key}'`,
      site,
      [`machine ${spec.title} has ${list}`, `variant '${variant}'`],
      `use ${names[0]}/${cpu.toLowerCase()} to run a second task on ${names[0]}, or ${spec.cpus[0]?.virtual ? 'vcpus' : 'cpus'}: ${count}`,
    );
  }
}

const CONFIG_KEYS: readonly (keyof KernelConfig)[] = [
  'MMU_GATHER_RCU_TABLE_FREE',
  'MMU_GATHER_TABLE_FREE',
  'PT_RECLAIM',
  'MAX_TABLE_BATCH',
];

function checkConfig(
  variant: string,
  spec: MachineSpecification,
  config: Partial<KernelConfig>,
  site: Site | undefined,
): void {
  for (const key of Object.keys(config)) {
    if ((CONFIG_KEYS as readonly string[]).includes(key)) continue;
    refuse(
      'E109',
      `unknown configuration name ${key}`,
      site,
      [`variant '${variant}'; known: ${CONFIG_KEYS.join(', ')}`],
      'check the spelling',
    );
  }
  const reason = spec.arch.impossible?.({ ...spec.arch.config, ...config });
  if (reason)
    refuse('E109', reason, site, [`variant '${variant}'`], 'remove it, or use another machine');
}
