import { withArch } from '../arch/machines.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
import { definitionOf } from './program.ts';
import type { Scenario } from './scenario.ts';

/** The scenario with all its variants on processors of another architecture, whatever they say. */
export function onMachine(declared: Scenario, arch: ArchDescriptor): Scenario {
  const variants = Object.entries(declared.definition.variants).map(([name, variant]) => {
    const machine = withArch(definitionOf(declared, name).machine, arch);
    return [name, { ...variant, machine }] as const;
  });
  const definition = { ...declared.definition, variants: Object.fromEntries(variants) };
  return Object.freeze({ ...declared, definition });
}
