import { fn, leaf } from '../../../../machine/fn.ts';
import type { Steps } from '../../../../machine/op.ts';
import { flush_walker } from '../../../../machine/ops/guest.ts';
import type { Kvm, Vcpu } from '../../../virt/kvm/types.ts';

/**
 * KVM as a guest of Hyper-V: its own guests' translations are flushed by a hypercall.
 *
 * Guarantee: when it returns, no processor uses what it has cached of the guest's second stage. What it is NOT: a
 * wait for software. No vCPU is interrupted, so that a walk of shadow pages with interrupts off goes on.
 *
 * Follows linux v6.12 arch/x86/kvm/kvm_onhyperv.c (hv_flush_remote_tlbs), which takes the place of the requests in
 * kvm_flush_remote_tlbs() where it succeeds. That nothing else keeps walkers of shadow pages out is a reading of
 * the source, not a reported bug.
 */
const hyperv_flush_guest_mapping = leaf(function* hyperv_flush_guest_mapping(
  vcpu: Vcpu,
): Steps<void> {
  yield* flush_walker(vcpu.walker, null, null, null, true);
});

export const hv_flush_remote_tlbs = fn(function* hv_flush_remote_tlbs(kvm: Kvm): Steps<void> {
  for (const vcpu of kvm.vcpus) yield* hyperv_flush_guest_mapping(vcpu);
});
