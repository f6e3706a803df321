import type { Site } from '../base/errors.ts';
import type { KernelConfig } from '../machine/arch.ts';
import type { Patch } from '../machine/fn.ts';
import { VIOLATION_KINDS } from '../machine/violation.ts';
import { didYouMean, refuse } from './refuse.ts';
import type { MachineSpecification, ScenarioDefinition, Variant } from './scenario.ts';
import { checkIds, checkQuestions, checkStory } from './validate-about.ts';
import { checkPredicates } from './validate-predicates.ts';

/**
 * Types are removed before a scenario is loaded, not checked: whatever is looked at here may be anything.
 * What is wrong is said when the file is loaded, at `scenario()` or at the variant, and not as a fault in the middle of a check.
 */
export function validate(
  id: string,
  definition: ScenarioDefinition<unknown>,
  site: Site | undefined,
  siteOf: (variant: unknown) => Site | undefined,
): void {
  if (typeof id !== 'string' || !/^[a-z0-9][a-z0-9-]*$/.test(id)) {
    refuse(
      'E108',
      `${typeof id === 'string' ? `'${id}'` : `${typeof id}`} is no scenario id`,
      site,
      [],
      'use lower-case letters, digits and dashes',
    );
  }
  if (Object.keys(definition?.variants ?? {}).length === 0) {
    refuse(
      'E108',
      `scenario ${id} has no variants`,
      site,
      [],
      "add `variants: { 'linux': safe() }`",
    );
  }
  checkFields(`scenario ${id}`, definition, SCENARIO_FIELDS, site);
  checkStory(id, definition, site);
  checkQuestions(id, definition, site);
  for (const [name, variant] of Object.entries(definition.variants)) {
    const at = siteOf(variant);
    const of = (part: keyof typeof variant): Site | undefined =>
      variant[part] === undefined ? site : at;
    checkVariant(name, variant, at);
    checkFields(`variant '${name}'`, variant, VARIANT_FIELDS, at);
    const machine = variant.machine ?? definition.machine;
    const run = variant.run ?? definition.run;
    checkParts(id, name, { machine, run, setup: variant.setup ?? definition.setup }, site);
    checkActors(name, machine, run, of(variant.run ? 'run' : 'machine'));
    checkConfig(name, machine, { ...definition.config, ...variant.config }, of('config'));
    checkAllocation(name, { ...definition.alloc, ...variant.alloc }, of('alloc'));
    checkModel(name, variant.model ?? definition.model, of('model'));
    for (const each of variant.patches ?? []) checkPatch(name, each, at);
    if (Object.keys(machine.preempt).length > 0 && !definition.host) {
      refuse(
        'E102',
        `the host of ${machine.name} has nothing to do`,
        of('machine'),
        [`machine ${machine.title} is preempted, but the scenario names no host`],
        'add `host: kvm_host` from gracewalk/linux',
      );
    }
  }
  checkPredicates(id, definition, site);
}

const SCENARIO_FIELDS: readonly string[] = [
  'title',
  'citation',
  'story',
  'machine',
  'model',
  'config',
  'alloc',
  'setup',
  'run',
  'host',
  'foreign',
  'always',
  'sometimes',
  'variants',
  'ask',
];

const VARIANT_FIELDS: readonly string[] = [
  'expected',
  'kinds',
  'shows',
  'config',
  'alloc',
  'foreign',
  'patches',
  'without',
  'machine',
  'model',
  'setup',
  'run',
];

/** A misspelt `always` would be an invariant that nobody checks. */
function checkFields(
  where: string,
  value: object,
  known: readonly string[],
  site: Site | undefined,
): void {
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const names = known.filter((name) => name !== 'expected' && name !== 'kinds');
  refuse(
    'E108',
    `unknown field '${unknown}' in ${where}`,
    site,
    [`known: ${names.join(', ')}`],
    didYouMean(unknown, names) ?? 'check the spelling',
  );
}

function checkVariant(name: string, variant: Variant<unknown>, site: Site | undefined): void {
  if (!['safe', 'fails'].includes(variant?.expected) || !Array.isArray(variant.kinds)) {
    refuse(
      'E108',
      `variant '${name}' does not say what is expected of it`,
      site,
      [],
      `write '${name}': safe() or '${name}': fails('use-after-free')`,
    );
  }
  checkIds(name, variant, site);
  const unknown = variant.kinds.find((kind) => !VIOLATION_KINDS.includes(kind));
  if (unknown === undefined && (variant.expected === 'safe' || variant.kinds.length > 0)) return;
  refuse(
    'E108',
    unknown === undefined ? 'fails() names no kind of violation' : `no violation '${unknown}'`,
    site,
    [`variant '${name}'; known: ${VIOLATION_KINDS.join(', ')}`],
    didYouMean(unknown, VIOLATION_KINDS) ?? 'name one of them',
  );
}

/** What every variant must have, of its own or of the scenario's. */
function checkParts(
  id: string,
  variant: string,
  parts: { readonly machine: unknown; readonly run: unknown; readonly setup: unknown },
  site: Site | undefined,
): void {
  const missing = (what: string, help: string): never =>
    refuse('E108', `scenario ${id} has no ${what}`, site, [`variant '${variant}'`], help);
  const { machine, run, setup } = parts;
  if (typeof machine !== 'object' || machine === null || !('cpus' in machine)) {
    missing('machine', 'add `machine: x86_64({ cpus: 2 })` from gracewalk/arch');
  }
  if (typeof setup !== 'function') {
    missing('setup', "add `setup: (m) => ({ x: m.memory.variable('x') })`");
  }
  if (typeof run !== 'object' || run === null) {
    missing('run', 'add `run: { CPU0: (state) => ... }`');
  }
  for (const [key, body] of Object.entries(run as object)) {
    if (typeof body === 'function') continue;
    refuse(
      'E108',
      `actor '${key}' is no function`,
      site,
      [`variant '${variant}'`],
      `write \`${/^\w+$/.test(key) ? key : `'${key}'`}: (state) => munmap(state.mm, start, length)\``,
    );
  }
}

function checkPatch(variant: string, { target, replacement, site: own }: Patch, site?: Site): void {
  const at = own ?? site;
  const notes = [`variant '${variant}'`];
  if (typeof target !== 'function' || !('title' in target)) {
    const title = typeof target === 'function' ? ` ${(target as { name: string }).name}()` : '';
    refuse(
      'E108',
      title === ''
        ? 'patch() of something that is no kernel function'
        : `patch() of${title}, which is no kernel function`,
      at,
      title === '' ? [`it is ${String(target)}: check the name`, ...notes] : notes,
      'only what `fn` or `leaf` made can be patched; patch a caller of it',
    );
  }
  if (typeof replacement === 'function') return;
  refuse(
    'E108',
    `patch() of ${target.title}() by something that is no function`,
    at,
    [`it is ${String(replacement)}`, ...notes],
    'give a generator function with the same parameters, or `nop`',
  );
}

function checkActors(
  variant: string,
  spec: MachineSpecification,
  run: Readonly<Record<string, unknown>>,
  site: Site | undefined,
): void {
  const names = spec.cpus.map(({ name }) => name);
  if (names.length === 0) {
    const help = 'give a whole number from 1: x86_64({ cpus: 2 }), x86_64.kvm_guest({ vcpus: 2 })';
    refuse('E108', `machine ${spec.title} has no CPU`, site, [`variant '${variant}'`], help);
  }
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
  'MAX_GATHER_BATCH',
  'MMU_NOTIFIER',
];

function checkConfig(
  variant: string,
  spec: MachineSpecification,
  config: Partial<KernelConfig>,
  site: Site | undefined,
): void {
  for (const [key, value] of Object.entries(config)) {
    if ((CONFIG_KEYS as readonly string[]).includes(key)) {
      const usual = spec.arch.config[key as keyof KernelConfig] ?? false;
      checkValue(variant, key, value, usual, site);
      continue;
    }
    refuse(
      'E109',
      `unknown configuration name ${key}`,
      site,
      [`variant '${variant}'; known: ${CONFIG_KEYS.join(', ')}`],
      didYouMean(key, CONFIG_KEYS) ?? 'check the spelling',
    );
  }
  const reason = spec.arch.impossible?.({ ...spec.arch.config, ...config });
  if (reason)
    refuse('E109', reason, site, [`variant '${variant}'`], 'remove it, or use another machine');
}

/** A switch is true or false, a number at least 1, as it is in the architecture's own configuration. */
function checkValue(
  variant: string,
  key: string,
  value: unknown,
  usual: unknown,
  site: Site | undefined,
): void {
  if (value === undefined) return;
  if (typeof usual === 'boolean' && typeof value === 'boolean') return;
  if (typeof usual === 'number' && Number.isInteger(value) && (value as number) >= 1) return;
  refuse(
    'E109',
    `${key} cannot be ${JSON.stringify(value)}`,
    site,
    [`variant '${variant}'`],
    typeof usual === 'boolean' ? 'it is true or false' : 'it is a whole number from 1',
  );
}

const MODELS: readonly unknown[] = ['sc', 'tso', undefined];

function checkModel(variant: string, model: unknown, site: Site | undefined): void {
  if (MODELS.includes(model)) return;
  refuse(
    'E109',
    `no memory model '${String(model)}'`,
    site,
    [
      `variant '${variant}'; known: sc (sequential consistency), tso (store buffers, as x86 has them)`,
    ],
    didYouMean(String(model), ['sc', 'tso']) ?? 'use one of them',
  );
}

const GFP_NOWAIT = ['ok', 'fails', 'either'];

function checkAllocation(variant: string, alloc: object, site: Site | undefined): void {
  for (const [key, value] of Object.entries(alloc)) {
    if (key !== 'GFP_NOWAIT') {
      refuse(
        'E109',
        `unknown allocation setting ${key}`,
        site,
        [`variant '${variant}'; known: GFP_NOWAIT`],
        'check the spelling',
      );
    }
    if (value === undefined || GFP_NOWAIT.includes(value)) continue;
    refuse(
      'E109',
      `GFP_NOWAIT cannot be '${String(value)}'`,
      site,
      [`variant '${variant}'; known: ${GFP_NOWAIT.join(', ')}`],
      didYouMean(String(value), GFP_NOWAIT) ?? 'use one of them',
    );
  }
}
