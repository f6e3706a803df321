import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
import type { MachineSpec } from './index.ts';
import { arm64_descriptors } from './arm64.ts';
import { powerpc_radix_descriptors } from './powerpc-radix.ts';
import { riscv_descriptors } from './riscv.ts';
import { s390_descriptor } from './s390.ts';
import { x86_pae_descriptor } from './x86-pae.ts';
import { x86_64_descriptor, x86_64_la57_descriptor } from './x86-64-machine.ts';

/** Every architecture that a machine can have, as `--machine` calls it. */
export const MACHINE_ARCHS: readonly ArchDescriptor[] = [
  x86_64_descriptor,
  x86_64_la57_descriptor,
  x86_pae_descriptor,
  ...Object.values(arm64_descriptors),
  ...Object.values(powerpc_radix_descriptors),
  s390_descriptor,
  ...Object.values(riscv_descriptors),
];

/** The architecture that users call `name`. */
export function machineArch(name: string): ArchDescriptor {
  const found = MACHINE_ARCHS.find((arch) => arch.name === name.replaceAll('-', '_').toLowerCase());
  if (found) return found;
  const names = MACHINE_ARCHS.map((arch) => arch.name);
  const near = suggest(name, names);
  throw new GracewalkError('E802', `no machine '${name}'`, {
    notes: [`there are ${names.join(', ')}`],
    ...(near === null ? {} : { help: `did you mean ${near}?` }),
  });
}

/** Has the machine processors of this architecture? */
export function isOn(spec: MachineSpec, arch: ArchDescriptor): boolean {
  return spec.arch === arch;
}

/** The same machine with processors of another architecture: as many of them, virtual or not, as before. */
export function withArch<Spec extends MachineSpec>(spec: Spec, arch: ArchDescriptor): Spec {
  if (spec.arch === arch) return spec;
  return {
    ...spec,
    arch,
    name: arch.name + spec.name.slice(spec.arch.name.length),
    title: spec.title.replace(spec.arch.title, arch.title),
  };
}
