import { fn, leaf } from '../../../../machine/fn.ts';
import type { Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { guest_load, guest_store, vm_enter, vm_exit } from '../../../../machine/ops/guest.ts';
import type { Vcpu } from '../../../virt/kvm/types.ts';
import type { GuestAccess } from '../../../virt/kvm/vcpu.ts';

/**
 * One stay of a vCPU in the guest where flushes need no help of the vCPU's thread (hyperv-tlb.ts): without
 * requests and modes, which virt/kvm/vcpu.ts is about.
 *
 * Follows linux v6.12 arch/x86/kvm/x86.c (vcpu_enter_guest: kvm_x86_vcpu_run).
 */
const kvm_x86_vcpu_enter = leaf(
  function* kvm_x86_vcpu_enter(vcpu: Vcpu, root: Page): Steps<void> {
    yield* vm_enter(vcpu.walker, root);
  },
  { event: 'enters the guest' },
);

const kvm_x86_vcpu_exit = leaf(
  function* kvm_x86_vcpu_exit(vcpu: Vcpu): Steps<void> {
    yield* vm_exit(vcpu.walker);
  },
  { event: 'leaves the guest' },
);

const guest_accesses = leaf(
  function* guest_accesses(vcpu: Vcpu, { gpa, value }: GuestAccess): Steps<boolean> {
    if (value === undefined) return (yield* guest_load(vcpu.walker, gpa)) !== null;
    return yield* guest_store(vcpu.walker, gpa, value);
  },
  { event: 'the guest accesses its memory' },
);

/** True: the access was allowed. False: an exit with a violation of the second stage. */
export const kvm_x86_vcpu_run = fn(function* kvm_x86_vcpu_run(
  vcpu: Vcpu,
  access: GuestAccess,
  root: Page = vcpu.kvm.root,
): Steps<boolean> {
  yield* kvm_x86_vcpu_enter(vcpu, root);
  const allowed = yield* guest_accesses(vcpu, access);
  yield* kvm_x86_vcpu_exit(vcpu);
  return allowed;
});
