import { fn } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { READ_ONCE, try_cmpxchg } from '../../../machine/ops/memory.ts';
import type { PerCpu } from '../../mm/types.ts';
import { native_flush_tlb_multi, type FlushInfo } from './tlb.ts';

/**
 * The guest's side of KVM's paravirtual TLB flush.
 *
 * Guarantee: each vCPU in the mask has invalidated the range, or will before it executes another guest
 * instruction. Mechanism: a vCPU that the host has descheduled says so in a byte it shares with the host;
 * the flusher adds a request to that byte with a compare-and-exchange and leaves the vCPU out of the
 * interrupt. The byte is the arbiter: if the request is in before the host takes the byte back, the host
 * flushes before entry; if not, the exchange fails and the vCPU gets its interrupt.
 *
 * What it is NOT: a wait for software. A descheduled vCPU may be in the middle of a walk with interrupts
 * off, and nothing here waits for it. Freeing page tables right after this flush is therefore wrong, and
 * enabling it also switches table freeing to RCU (seed 001; M4.11 is the form without).
 *
 * Follows linux v6.12 arch/x86/kernel/kvm.c.
 */
export const KVM_VCPU_PREEMPTED = 1;
export const KVM_VCPU_FLUSH_TLB = 2;

export const kvm_flush_tlb_multi = fn(function* kvm_flush_tlb_multi(
  cpumask: readonly number[],
  info: FlushInfo,
): Steps<void> {
  const flushmask: number[] = [];
  for (const cpu of cpumask) {
    const src = info.kernel.cpus[cpu] as PerCpu; // &per_cpu(steal_time, cpu)
    const state = yield* READ_ONCE(src.preempted);
    if (
      (state & KVM_VCPU_PREEMPTED) === 0 ||
      !(yield* try_cmpxchg(src.preempted, state, state | KVM_VCPU_FLUSH_TLB))
    ) {
      flushmask.push(cpu);
    }
  }
  yield* native_flush_tlb_multi(flushmask, info);
});
