import type { Run } from '../explore/run.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
import { definitionOf, type VariantDefinition } from './program.ts';
import type { VariantResult } from './result.ts';
import type { Scenario, ScenarioDefinition, Variant } from './scenario.ts';

/** What can be said about a variant without searching. */

/** Six hex digits over everything that says what the variant is, except library code. */
export function variantFingerprint(scenario: Scenario, name: string): string {
  const definition = definitionOf(scenario, name);
  const { machine, model, run, config, alloc, setup } = definition;
  const variant = scenario.definition.variants[name] as Variant<unknown>;
  const parts = [
    scenario.id,
    name,
    machine.name,
    ...(model === 'sc' ? [] : [model]),
    machine.cpus.map((cpu) => cpu.name).join(),
    JSON.stringify([machine.preempt, config, alloc, definition.foreign]),
    setup.toString(),
    ...Object.entries(definition.always ?? {}).map(
      ([key, always]) => `${key}:${always.toString()}`,
    ),
    ...Object.entries(run).map(([key, body]) => `${key}:${body.toString()}`),
    ...(variant.patches ?? []).map(
      (patch) => `${patch.target.title}:${patch.replacement.toString()}`,
    ),
    ...(variant.without ?? []).map((name) => `without ${name}`),
  ];
  let hash = 0x811c9dc5;
  for (const char of parts.join('\n')) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
  return (hash >>> 8).toString(16).padStart(6, '0');
}

/** Diagram columns, in scenario order. */
export function columnsOf(definition: ScenarioDefinition<unknown>): string[] {
  return [
    ...new Set([
      ...Object.keys(definition.run),
      ...definition.machine.cpus.map(({ name }) => name),
      'elsewhere',
    ]),
  ];
}

/** What the variant changes: functions that it patches, then protections that it does without. */
function changes({ patches = [], without = [] }: Variant<unknown>): Change[] {
  return [
    ...patches.map(({ target, site }) => ({ key: target, change: { name: target.title, site } })),
    ...without.map((name) => ({ key: name, change: { name, site: null, protection: true } })),
  ];
}

interface Change {
  readonly key: unknown;
  readonly change: VariantResult['neverCalled'][number];
}

/** Which of the variant's changes (by index) are of something that some actor called. */
export function calledPatches(variant: Variant<unknown>, run: Run): number[] {
  const called = new Set<unknown>();
  for (const coroutine of run.allCoroutines()) {
    for (const fn of coroutine.entered) called.add(fn);
    for (const name of coroutine.protections.keys()) called.add(name);
  }
  return changes(variant).flatMap(({ key }, at) => (called.has(key) ? [at] : []));
}

/** The other changes: with one, the variant is not what its author thinks. */
export function neverCalledPatches(
  variant: Variant<unknown>,
  called: ReadonlySet<number>,
): VariantResult['neverCalled'][number][] {
  return changes(variant)
    .filter((_change, at) => !called.has(at))
    .map(({ change }) => change);
}

/** Of a processor that reorders more, this is an assumption about what the kernel runs on. */
function totalStoreOrder({ title, weaklyOrdered }: ArchDescriptor): string {
  const name = 'total store order (x86-TSO)';
  return weaklyOrdered ? `${name}, which is more than ${title} promises` : name;
}

/** Parameters of the environment: part of the question, so printed with the answer. */
export function assumptions(definition: VariantDefinition): string[] {
  const { machine, model, alloc } = definition;
  const list = [
    model === 'sc' ? 'sequential consistency' : totalStoreOrder(machine.arch),
    `${machine.cpus.length} CPU${machine.cpus.length === 1 ? '' : 's'}`,
  ];
  if (model === 'tso') list.push('RCU callbacks and the host store in order');
  for (const [name, times] of Object.entries(machine.preempt)) {
    list.push(`the host preempts ${name} ${times === 1 ? 'once' : `${times} times`}, anywhere`);
  }
  const { foreign = 0 } = definition;
  if (foreign > 0)
    list.push(`${foreign} freed frame${foreign === 1 ? '' : 's'} may go to another owner`);
  if (alloc?.GFP_NOWAIT === 'fails') list.push('GFP_NOWAIT allocations fail');
  if (alloc?.GFP_NOWAIT === 'either') list.push('GFP_NOWAIT allocations may fail');
  return list;
}
