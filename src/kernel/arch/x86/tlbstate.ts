import { smp_processor_id } from '../../../machine/fn.ts';
import type { Kernel, PerCpu } from '../../mm/types.ts';

/**
 * What a CPU knows about its own translation caches: cpu_tlbstate of arch/x86/include/asm/tlbflush.h.
 *
 * Cached translations are tagged, and a CPU has few tags. Each slot of `ctxs` is one: whose it is, and the
 * generation of that address space up to which the CPU has invalidated what it cached under the tag. A CPU
 * that switches away keeps the slot and what is cached; coming back it flushes only if the address space has
 * moved on.
 */

/** TLB_NR_DYN_ASIDS: 6 in the kernel; few here, so that slots are recycled. */
export const TLB_NR_DYN_ASIDS = 2;

/** The address space of kernel threads. It maps no user memory, so none of its tables is modelled. */
export const INIT_MM = 0;
export const LOADED_MM_SWITCHING = -1;

/** A new_tlb_gen that says nothing about generations: the flush is for whatever is loaded. */
export const TLB_GENERATION_INVALID = 0;
export const TLB_FLUSH_ALL: number = Number.MAX_SAFE_INTEGER;

/** kern_pcid(): the tag of a slot. Tag 0 is left to those who use none. */
export function kern_pcid(asid: number): number {
  return asid + 1;
}

export function this_cpu(kernel: Kernel): PerCpu {
  return kernel.cpus[smp_processor_id()] as PerCpu;
}
