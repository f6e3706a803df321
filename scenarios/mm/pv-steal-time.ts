// The byte that host and guest share: who is preempted, and who wants a flush before he runs again.  May
// either side change it in two steps?  linux v6.12 arch/x86/kernel/kvm.c, arch/x86/kvm/x86.c; b043138246a4
// "x86/KVM: Make sure KVM_VCPU_FLUSH_TLB flag is not missed", CVE-2019-3016.
import { entered, fails, nop, patch, returned, safe, scenario, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  KVM_VCPU_FLUSH_TLB,
  KVM_VCPU_PREEMPTED,
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  flush_tlb_func,
  flush_tlb_multi,
  kvm_flush_tlb_multi,
  kvm_host,
  kvm_vcpu_flush_tlb_guest,
  munmap,
  native_flush_tlb_multi,
  new_mm,
  new_page,
  record_steal_time,
  try_cmpxchg,
  type FlushInfo,
  type Mm,
  type PerCpu,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;
const PV = patch(flush_tlb_multi, kvm_flush_tlb_multi);

/** M4.9: the request is added with a load and a store; the host may take the byte back in between. */
function* kvm_flush_tlb_multi_by_store(cpumask: readonly number[], info: FlushInfo): Steps<void> {
  const flushmask: number[] = [];
  for (const cpu of cpumask) {
    const src = info.kernel.cpus[cpu] as PerCpu;
    const state = yield* READ_ONCE(src.preempted);
    if (state & KVM_VCPU_PREEMPTED) {
      yield* WRITE_ONCE(src.preempted, state | KVM_VCPU_FLUSH_TLB);
    } else {
      flushmask.push(cpu);
    }
  }
  yield* native_flush_tlb_multi(flushmask, info);
}

/** M4.7: the byte is read, then cleared; a request that arrives in between is lost. */
function* record_steal_time_by_store(vcpu: PerCpu): Steps<void> {
  const preempted = yield* READ_ONCE(vcpu.preempted);
  yield* WRITE_ONCE(vcpu.preempted, 0);
  if (preempted & KVM_VCPU_FLUSH_TLB) yield* kvm_vcpu_flush_tlb_guest(vcpu);
}

export default scenario<{ readonly mm: Mm }>('pv-steal-time', {
  machine: x86_64.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }),
  host: kvm_host,

  setup: (m) => ({
    mm: new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') }),
  }),

  run: {
    vCPU0: nop, // in user mode
    vCPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'the request is in first': entered('host of vCPU0', kvm_vcpu_flush_tlb_guest),
    'the host is first': returned(try_cmpxchg, false),
    'the vCPU gets its interrupt': entered('IPI: flush_tlb_func', flush_tlb_func),
  },

  variants: {
    atomic: safe({ patches: [PV], shows: ['mm:C13'] }),
    'host stores': fails('stale-translation', {
      shows: ['M4.7', 'L11', 'mm:C13'],
      patches: [PV, patch(record_steal_time, record_steal_time_by_store)],
    }),
    'guest stores': fails('stale-translation', {
      shows: ['M4.9', 'mm:C13'],
      patches: [patch(flush_tlb_multi, kvm_flush_tlb_multi_by_store)],
    }),
  },
});
