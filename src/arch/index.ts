/** `gracewalk/arch`: the machines a scenario can run on. */
import type { ArchDescriptor } from '../machine/arch.ts';
import { arm64_descriptors } from './arm64.ts';
import { powerpc_radix_descriptors } from './powerpc-radix.ts';
import { riscv_descriptors } from './riscv.ts';
import { s390_descriptor } from './s390.ts';
import { x86_pae_descriptor } from './x86-pae.ts';
import { x86_64_descriptor, x86_64_la57_descriptor } from './x86-64-machine.ts';

/** A machine as a scenario asks for it. */
export interface MachineSpec {
  /** `x86_64`, `x86_64.kvm_guest`: stable, for results and tokens. */
  readonly name: string;
  /** For people: `x86-64 KVM guest, 2 vCPUs`. */
  readonly title: string;
  readonly arch: ArchDescriptor;
  readonly cpus: readonly { readonly name: string; readonly virtual: boolean }[];
  /** How many times the host takes each vCPU off its processor, at any moment. */
  readonly preempt: Readonly<Record<string, number>>;
}

export interface CpuCount {
  readonly cpus: number;
}

export interface GuestOptions {
  readonly vcpus: number;
  readonly preempt?: Readonly<Record<string, number>>;
}

function native(arch: ArchDescriptor, { cpus }: CpuCount): MachineSpec {
  return {
    name: arch.name,
    title: `${arch.title}, ${cpus} CPU${cpus === 1 ? '' : 's'}`,
    arch,
    cpus: Array.from({ length: cpus }, (_, at) => ({ name: `CPU${at}`, virtual: false })),
    preempt: {},
  };
}

function guest(arch: ArchDescriptor, { vcpus, preempt = {} }: GuestOptions): MachineSpec {
  return {
    name: `${arch.name}.kvm_guest`,
    title: `${arch.title} KVM guest, ${vcpus} vCPU${vcpus === 1 ? '' : 's'}`,
    arch,
    cpus: Array.from({ length: vcpus }, (_, at) => ({ name: `vCPU${at}`, virtual: true })),
    preempt,
  };
}

export interface MachineMaker<Options extends object = object> {
  (options: CpuCount & Options): MachineSpec;
  /** A guest of KVM, whose vCPUs the host may deschedule. */
  readonly kvm_guest: (options: GuestOptions & Options) => MachineSpec;
}

function maker<Options extends object = object>(
  arch: (options: Options) => ArchDescriptor,
): MachineMaker<Options> {
  return Object.assign((options: CpuCount & Options) => native(arch(options), options), {
    kvm_guest: (options: GuestOptions & Options) => guest(arch(options), options),
  });
}

/** x86-64, with tables of 4 levels, or of 5 (`levels: 5`): TLB shootdown by interrupt. */
export const x86_64: MachineMaker<{ readonly levels?: 4 | 5 }> = maker(({ levels }) =>
  levels === 5 ? x86_64_la57_descriptor : x86_64_descriptor,
);

/** arm64 with pages of 4 KiB, or of `granule`: TLB invalidation by broadcast. */
export const arm64: MachineMaker<{ readonly granule?: '4k' | '16k' | '64k' }> = maker(
  ({ granule = '4k' }) => arm64_descriptors[granule],
);

/** x86-32 with PAE: entries of 64 bits that the kernel reads and writes as two halves. */
export const x86_pae: MachineMaker = maker(() => x86_pae_descriptor);

/** PowerPC Book3S-64 with radix tables and base pages of 4 KiB, or of `page`. */
export const powerpc_radix: MachineMaker<{ readonly page?: '4k' | '64k' }> = maker(
  ({ page = '4k' }) => powerpc_radix_descriptors[page],
);

/** s390 with region-second tables on top (8 PiB): an empty entry is not zero. */
export const s390: MachineMaker = maker(() => s390_descriptor);

/** RISC-V with Sv48, or another `mode`. */
export const riscv: MachineMaker<{ readonly mode?: 'sv39' | 'sv48' | 'sv57' }> = maker(
  ({ mode = 'sv48' }) => riscv_descriptors[mode],
);
