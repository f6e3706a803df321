import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { flush_guest_tlb } from '../../../machine/ops/host.ts';
import { READ_ONCE } from '../../../machine/ops/memory.ts';
import type { PerCpu } from '../../mm/types.ts';
import type { FlushInfo } from './tlb.ts';

/**
 * Flushes that a hypervisor performs for its guest.
 *
 * Guarantee: when the hypercall returns, no vCPU that was asked for executes another guest instruction with
 * what it had cached. Mechanism: the hypervisor interrupts its physical CPUs, or flushes before the next
 * entry where a vCPU is not running. Why it suffices for hardware: the guest's own generations play no part,
 * so a CPU between two address spaces loses what it cached like any other.
 * What it is NOT: a wait for software. The guest's vCPUs take no interrupt, so that a walk with interrupts
 * off goes on, on a vCPU that is running, too. Whoever enables it switches table freeing to RCU.
 *
 * Follows linux v6.12 arch/x86/hyperv/mmu.c (hyperv_flush_tlb_multi) and arch/x86/xen/mmu_pv.c
 * (xen_flush_tlb_multi). Both name the address space or the addresses; here all goes.
 */
const hv_do_hypercall = leaf(
  function* hv_do_hypercall(vcpu: number): Steps<void> {
    yield* flush_guest_tlb(vcpu);
  },
  { protects: { what: 'hv_do_hypercall()' } },
);

/** Does the flush leave lazy CPUs alone? Not if they could walk freed tables. */
export const hv_skips_lazy = fn(
  function* hv_skips_lazy({ freed_tables }: FlushInfo): Steps<boolean> {
    return !freed_tables;
  },
  { hidden: true },
);

export const hyperv_flush_tlb_multi = fn(function* hyperv_flush_tlb_multi(
  cpus: readonly number[],
  info: FlushInfo,
): Steps<void> {
  const do_lazy = yield* hv_skips_lazy(info);
  for (const cpu of cpus) {
    const other = info.kernel.cpus[cpu] as PerCpu;
    if (do_lazy && (yield* READ_ONCE(other.is_lazy))) continue;
    yield* hv_do_hypercall(cpu);
  }
});

/** MMUEXT_TLB_FLUSH_MULTI or MMUEXT_INVLPG_MULTI. */
const xen_mc_flush = leaf(
  function* xen_mc_flush(vcpu: number): Steps<void> {
    yield* flush_guest_tlb(vcpu);
  },
  { protects: { what: 'xen_mc_flush()' } },
);

/** A Xen PV guest knows no lazy mode. */
export const xen_flush_tlb_multi = fn(function* xen_flush_tlb_multi(
  cpus: readonly number[],
  _info: FlushInfo,
): Steps<void> {
  for (const cpu of cpus) yield* xen_mc_flush(cpu);
});
