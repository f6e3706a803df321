import type { ArchDescriptor } from '../machine/arch.ts';
import { impossible } from './kconfig.ts';
import { machineOf, type TableKind } from './table-kind.ts';
import { x86_64_la57_tables, x86_64_tables } from './x86-64.ts';
import { x86_config } from './x86-rules.ts';
import { x86_seconds } from './x86-seconds.ts';

/** Machines of x86-64: their own tables, and those that a hypervisor on them makes. */
const machine = { flush: 'ipi', config: x86_config, impossible } as const;

/** With the tables that a hypervisor on it makes. */
function hypervisor(tables: TableKind): ArchDescriptor {
  const seconds = x86_seconds(machineOf(tables, machine), machine);
  return machineOf(tables, { ...machine, seconds });
}

export const x86_64_descriptor: ArchDescriptor = hypervisor(x86_64_tables);
export const x86_64_la57_descriptor: ArchDescriptor = hypervisor(x86_64_la57_tables);
