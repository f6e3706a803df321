import { GracewalkError, type Site } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import type { KernelConfig } from '../machine/arch.ts';
import type { Patch } from '../machine/fn.ts';
import { VIOLATION_KINDS } from '../machine/violation.ts';
import { isOnlyIn, type Predicate } from './predicates.ts';
import type { MachineSpecification, ScenarioDefinition, Variant } from './scenario.ts';

function refuse(
  code: string,
  what: string,
  site: Site | undefined,
  notes: string[],
  help: string,
): never {
  throw new GracewalkError(code, what, { site, notes, help });
}

/**
 * Types are removed before a scenario is loaded, not checked: whatever is looked at here may be anything.
 * What is wrong is said when the file is loaded, at `scenario()`, and not as a fault in the middle of a check.
 */
export function validate(
  id: string,
  definition: ScenarioDefinition<unknown>,
  site: Site | undefined,
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
  for (const [name, variant] of Object.entries(definition.variants)) {
    checkVariant(name, variant, site);
    checkFields(`variant '${name}'`, variant, VARIANT_FIELDS, site);
    const machine = variant.machine ?? definition.machine;
    const run = variant.run ?? definition.run;
    checkParts(id, name, { machine, run, setup: variant.setup ?? definition.setup }, site);
    checkActors(name, machine, run, site);
    checkConfig(name, machine, { ...definition.config, ...variant.config }, site);
    checkAllocation(name, { ...definition.alloc, ...variant.alloc }, site);
    checkModel(name, variant.model ?? definition.model, site);
    for (const each of variant.patches ?? []) checkPatch(name, each, site);
    if (Object.keys(machine.preempt).length > 0 && !definition.host) {
      refuse(
        'E102',
        `the host of ${machine.name} has nothing to do`,
        site,
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
];

const VARIANT_FIELDS: readonly string[] = [
  'expected',
  'kinds',
  'shows',
  'config',
  'alloc',
  'foreign',
  'patches',
  'machine',
  'model',
  'setup',
  'run',
];

/** An exhibit without its source would be hearsay. */
function checkStory(
  id: string,
  { title, citation, story }: ScenarioDefinition<unknown>,
  site: Site | undefined,
): void {
  const told = Object.entries({ title, citation, story });
  if (told.every(([, text]) => text === undefined)) return;
  const wrong = told.find(([, text]) => typeof text !== 'string' || text.trim() === '');
  if (!wrong) return;
  refuse(
    'E108',
    `scenario ${id} tells a story without its ${wrong[0]}`,
    site,
    [`${wrong[0]} is ${wrong[1] === undefined ? 'missing' : JSON.stringify(wrong[1])}`],
    'title, citation and story are text, and belong together',
  );
}

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

/** `M3.12`, `L8`, `mm:C4`, `bug:mremap-late-flush`. */
const SHOWN_ID = /^([A-Z]\d+(\.\d+)?[a-z]?|(mm|kvm):[A-Z]\d+(\.\d+)?|bug:[a-z0-9-]+)$/;

function checkIds(name: string, { shows }: Variant<unknown>, site: Site | undefined): void {
  if (shows === undefined) return;
  const wrong = Array.isArray(shows) ? shows.find((id) => !SHOWN_ID.test(String(id))) : shows;
  if (wrong === undefined) return;
  refuse(
    'E108',
    `variant '${name}' shows '${String(wrong)}', which is no id`,
    site,
    ['ids are those of mutations, schedules, configurations and bugs'],
    "write shows: ['M3.2'], ['L3'], ['mm:C4'] or ['bug:mremap-late-flush']",
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

function checkPredicates(
  id: string,
  { sometimes, always, variants, run }: ScenarioDefinition<unknown>,
  site: Site | undefined,
): void {
  if (typeof sometimes !== 'object' || sometimes === null) {
    refuse(
      'E108',
      `scenario ${id} has no sometimes`,
      site,
      ['it names what must be seen in some run, so that nobody is misled by a check of nothing'],
      "add `sometimes: { 'the walk succeeds': returned(walk, 1) }`; if there is nothing to see, `sometimes: {}`",
    );
  }
  for (const [title, predicate] of Object.entries(always ?? {})) {
    if (typeof predicate !== 'function') refusePredicate(`always '${title}'`, site);
  }
  const names = Object.keys(variants);
  for (const [title, predicate] of Object.entries(sometimes)) {
    const where = `sometimes '${title}'`;
    if (!isPredicate(predicate)) refusePredicate(where, site);
    const asked = isOnlyIn(predicate) ? predicate.variants : names;
    const unknown = asked.find((name) => !names.includes(name));
    if (asked.length === 0) {
      refuse('E106', `${where} is asked of no variant`, site, [], 'name one in only([...], ...)');
    }
    if (unknown !== undefined) {
      refuse(
        'E106',
        `no variant '${unknown}' in ${id}`,
        site,
        [`${where} is asked of it; there ${thereAre(names)}`],
        didYouMean(unknown, names) ?? 'name variants as they are written under `variants`',
      );
    }
    const own = isOnlyIn(predicate) ? predicate.predicate : predicate;
    if (typeof own === 'function' || own.actor === undefined) continue;
    const actors = [...new Set(asked.flatMap((name) => Object.keys(variants[name]?.run ?? run)))];
    if (actors.includes(own.actor) || MADE_WHILE_RUNNING.test(own.actor)) continue;
    refuse(
      'E102',
      `no actor '${own.actor}'`,
      site,
      [`${where} speaks of its steps; there ${thereAre(actors)}`],
      didYouMean(own.actor, actors) ?? 'name actors as they are written under `run`',
    );
  }
}

/** Handlers, callbacks and the machine's surroundings: no scenario names them under `run`. */
const MADE_WHILE_RUNNING = /^(IPI: |RCU callback: |host of |elsewhere$)/;

function isPredicate(value: unknown): value is Predicate<unknown> {
  if (typeof value === 'function') return true;
  if (typeof value !== 'object' || value === null) return false;
  if ('holds' in value) return true;
  if (!('variants' in value) || !Array.isArray(value.variants)) return false;
  return (
    'predicate' in value && !isOnlyIn(value.predicate as never) && isPredicate(value.predicate)
  );
}

function refusePredicate(where: string, site: Site | undefined): never {
  refuse(
    'E108',
    `${where} is no predicate`,
    site,
    [],
    'give a function of the view, `(v) => v.read(v.s.x) === 1`, or under `sometimes` also touched(...), returned(...) or only([...], ...)',
  );
}

function thereAre(names: readonly string[]): string {
  return `${names.length === 1 ? 'is' : 'are'} ${names.map((name) => `'${name}'`).join(', ')}`;
}

function didYouMean(typed: string | undefined, names: readonly string[]): string | null {
  const meant = typed === undefined ? null : suggest(typed, names);
  return meant === null ? null : `did you mean '${meant}'?`;
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
];

function checkConfig(
  variant: string,
  spec: MachineSpecification,
  config: Partial<KernelConfig>,
  site: Site | undefined,
): void {
  for (const [key, value] of Object.entries(config)) {
    if ((CONFIG_KEYS as readonly string[]).includes(key)) {
      checkValue(variant, key, value, spec.arch.config[key as keyof KernelConfig], site);
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
