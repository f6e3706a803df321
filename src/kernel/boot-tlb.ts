import type { Actor } from '../machine/actor.ts';
import type { Cpu } from '../machine/cpu.ts';
import type { Machine } from '../machine/machine.ts';
import type { Word } from '../machine/memory.ts';
import { INIT_MM, LOADED_MM_SWITCHING, TLB_NR_DYN_ASIDS, kern_pcid } from './arch/x86/tlbstate.ts';
import type { Mm, PerCpu, TlbContext } from './mm/types.ts';

/** What CPUs have loaded and cached when a scenario begins. */

type TlbState = Pick<PerCpu, 'loaded_mm' | 'loaded_mm_asid' | 'next_asid' | 'ctxs' | 'is_lazy'>;

/** cpu_tlbstate and cpu_tlbstate_shared of a CPU that runs init_mm. */
export function tlb_state(machine: Machine, cpu: string): TlbState {
  const variable = (name: string): Word => machine.memory.variable(`cpu_tlbstate(${cpu}).${name}`);
  return {
    loaded_mm: machine.memory.variable(`cpu_tlbstate(${cpu}).loaded_mm`, INIT_MM, mmNames(machine)),
    loaded_mm_asid: variable('loaded_mm_asid'),
    next_asid: variable('next_asid'),
    ctxs: Array.from({ length: TLB_NR_DYN_ASIDS }, (_, asid) => ({
      ctx_id: variable(`ctxs[${asid}].ctx_id`),
      tlb_gen: variable(`ctxs[${asid}].tlb_gen`),
    })),
    is_lazy: machine.memory.variable(`cpu_tlbstate_shared(${cpu}).is_lazy`),
  };
}

/** What the values of loaded_mm are called; address spaces are added as they are made. */
function mmNames(machine: Machine): Record<number, string> {
  const known = machine.objects.get('mm names') as Record<number, string> | undefined;
  const names = known ?? { [INIT_MM]: 'init_mm', [LOADED_MM_SWITCHING]: 'LOADED_MM_SWITCHING' };
  machine.objects.set('mm names', names);
  return names;
}

const NOBODY: Actor = Object.freeze({
  index: 0,
  name: 'setup',
  column: '',
  cpu: -1,
  kind: 'host',
  daemon: true,
  shared: false,
  creator: -1,
});

/** The CPU runs the address space. */
export function load_mm(machine: Machine, cpu: Cpu, mm: Mm): void {
  const { loaded_mm, loaded_mm_asid } = mm.kernel.cpus[cpu.index] as PerCpu;
  machine.cells.values[loaded_mm.cell] = mm.id;
  machine.cells.values[loaded_mm_asid.cell] = take_asid(machine, cpu, mm);
  mmNames(machine)[mm.id] = mm.name;
}

/** The CPU has run the address space and switched away from it. */
export function cache_mm(machine: Machine, cpu: Cpu, mm: Mm): void {
  const root = machine.cells.values[cpu.root] as number;
  const tag = machine.cells.values[cpu.tag] as number;
  take_asid(machine, cpu, mm);
  machine.translations.loadRoot(NOBODY, cpu, root, false, tag);
  mmNames(machine)[mm.id] = mm.name;
}

/** Loads the address space, in the slot that is next. Only x86 has tags of its own on each CPU. */
function take_asid(machine: Machine, cpu: Cpu, mm: Mm): number {
  const { values } = machine.cells;
  const { ctxs, next_asid } = mm.kernel.cpus[cpu.index] as PerCpu;
  const asid = values[next_asid.cell] as number;
  const ctx = ctxs[asid] as TlbContext;
  values[next_asid.cell] = (asid + 1) % ctxs.length;
  values[ctx.ctx_id.cell] = mm.id;
  values[ctx.tlb_gen.cell] = 1;
  const tag = mm.kernel.arch.flush === 'ipi' ? kern_pcid(asid) : mm.pgd;
  machine.translations.loadRoot(NOBODY, cpu, mm.pgd, true, tag);
  return asid;
}
