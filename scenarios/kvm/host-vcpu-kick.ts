// A vCPU is about to enter the guest while somebody else asks it to flush: does one of them see the other?
// linux v6.12 virt/kvm/kvm_main.c (kvm_make_vcpu_request), arch/x86/kvm/x86.c (vcpu_enter_guest),
// Documentation/virt/kvm/vcpu-requests.rst; specification of the secondary MMUs, section 2.6.
import {
  entered,
  fails,
  nop,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  kvm_vcpu_exit_request,
  kvm_vcpu_flush_tlb_current,
  madvise_dontneed,
  new_host_vm,
  new_mm,
  new_page,
  smp_call_function_many,
  smp_mb,
  vcpu_enter_guest,
  vcpu_never_faults,
  type Kvm,
  type Mm,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
}

function* no(): Steps<boolean> {
  return false;
}

export default scenario<State>('host-vcpu-kick', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const P = new_page(m, 'P');
    const mm = new_mm(m, 'mm', { [HVA]: P, [HVA + PAGE_SIZE]: new_page(m, 'Q') }, { on: [] });
    return { mm, kvm: new_host_vm(m, mm, { mapped: { 0: P } }) };
  },

  run: {
    CPU0: ({ kvm }) => vcpu_never_faults(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n }),
    CPU1: ({ mm }) => madvise_dontneed(mm, HVA, PAGE_SIZE),
  },

  sometimes: {
    'the vCPU sees the request': returned(kvm_vcpu_exit_request, true),
    'the vCPU flushes': entered('CPU0', kvm_vcpu_flush_tlb_current),
    'the vCPU is interrupted': entered('CPU1', smp_call_function_many),
    'the guest stores to the page': returned(vcpu_enter_guest, true),
  },

  variants: {
    correct: safe({ shows: ['K14'], model: 'tso' }),
    // K14: the mode is in the store buffer while requests are looked for, so no interrupt is sent.
    'no barrier': fails(['stale-translation', 'use-after-free', 'property'], {
      shows: ['K14'],
      model: 'tso',
      patches: [patch(smp_mb, nop)],
    }),
    'no barrier, in order': safe({ shows: ['K14'], patches: [patch(smp_mb, nop)] }),
    'requests are not looked for': fails(['stale-translation', 'use-after-free', 'property'], {
      patches: [patch(kvm_vcpu_exit_request, no)],
    }),
  },
});
