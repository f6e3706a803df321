import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { flush_guest_tlb, sched_out, vm_entry } from '../../../machine/ops/host.ts';
import { swap_word, write_word, xchg_in_two_steps } from '../../../machine/ops/memory.ts';
import type { Machine } from '../../../machine/machine.ts';
import { kernel_of } from '../../boot.ts';
import { KVM_VCPU_FLUSH_TLB, KVM_VCPU_PREEMPTED } from '../../arch/x86/kvm.ts';
import type { PerCpu } from '../../mm/types.ts';

/**
 * The host's side of steal time: telling a guest that one of its vCPUs is not running, and doing what the
 * guest asked for before it runs again.
 *
 * Guarantee: a flush requested while the vCPU was marked as preempted is done before it executes another
 * guest instruction. Mechanism: the byte is taken back with one atomic exchange; reading it and clearing it
 * in two steps loses a request in between (M4.7).
 *
 * Follows linux v6.12 arch/x86/kvm/x86.c (kvm_steal_time_set_preempted, record_steal_time) with the vCPU
 * always at an instruction boundary when it is descheduled.
 */

const kvm_sched_out = leaf(function* kvm_sched_out(vcpu: PerCpu): Steps<void> {
  yield* sched_out(vcpu.cpu);
});

export const kvm_steal_time_set_preempted = leaf(
  function* kvm_steal_time_set_preempted(vcpu: PerCpu): Steps<void> {
    yield* write_word(vcpu.preempted, KVM_VCPU_PREEMPTED);
  },
  { event: 'host sets KVM_VCPU_PREEMPTED' },
);

/** Everything the vCPU has cached of the guest's tables is gone when it runs again. */
export const kvm_vcpu_flush_tlb_guest = leaf(
  function* kvm_vcpu_flush_tlb_guest(vcpu: PerCpu): Steps<void> {
    yield* flush_guest_tlb(vcpu.cpu);
  },
  { protects: { what: 'kvm_vcpu_flush_tlb_guest()' } },
);

/** One exchange: whatever was requested until now is seen, whatever comes later finds the byte cleared. */
const take_preempted = leaf(
  function* take_preempted(vcpu: PerCpu): Steps<number> {
    return yield* swap_word(vcpu.preempted, 0);
  },
  {
    event: 'host takes KVM_VCPU_PREEMPTED back',
    protects: {
      what: 'the atomicity of the exchange',
      without: ({ preempted }) => xchg_in_two_steps(preempted, 0),
    },
  },
);

export const record_steal_time = fn(function* record_steal_time(vcpu: PerCpu): Steps<void> {
  const preempted = yield* take_preempted(vcpu);
  if (preempted & KVM_VCPU_FLUSH_TLB) yield* kvm_vcpu_flush_tlb_guest(vcpu);
});

export const kvm_vm_entry = leaf(function* kvm_vm_entry(vcpu: PerCpu): Steps<void> {
  yield* vm_entry(vcpu.cpu);
});

/** The host's scheduler takes the vCPU off its processor, `times` times, each at any moment. */
export const host_preempts = fn(
  function* host_preempts(vcpu: PerCpu, times: number): Steps<void> {
    for (let round = 0; round < times; round++) {
      yield* kvm_sched_out(vcpu);
      yield* kvm_steal_time_set_preempted(vcpu);
      yield* record_steal_time(vcpu);
      yield* kvm_vm_entry(vcpu);
    }
  },
  { hidden: true },
);

/** The host of a KVM guest, as scenarios name it: `host: kvm_host`. */
export function kvm_host(machine: Machine, vcpu: number, times: number): Steps<void> {
  return host_preempts(kernel_of(machine).cpus[vcpu] as PerCpu, times);
}
