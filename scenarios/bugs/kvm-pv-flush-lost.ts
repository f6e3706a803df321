// The host decides from a copy of the byte that guest and host share, and a request to flush is lost.
// linux v6.12 arch/x86/kvm/x86.c, arch/x86/kernel/kvm.c; b043138246a4, 8c6de56a42e0, CVE-2019-3016.
import { entered, fails, nop, only, patch, returned, safe, scenario, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  KVM_VCPU_FLUSH_TLB,
  KVM_VCPU_PREEMPTED,
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  flush_tlb_multi,
  kvm_flush_tlb_multi,
  kvm_host,
  kvm_steal_time_set_preempted,
  kvm_vcpu_flush_tlb_guest,
  munmap,
  new_mm,
  new_page,
  record_steal_time,
  try_cmpxchg,
  type Mm,
  type PerCpu,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;
const PV = patch(flush_tlb_multi, kvm_flush_tlb_multi);

/** Before b043138246a4: the byte is copied, the copy decides, and zero is written back. */
function* record_steal_time_from_copy(vcpu: PerCpu): Steps<void> {
  const copy = yield* READ_ONCE(vcpu.preempted);
  if (copy & KVM_VCPU_FLUSH_TLB) yield* kvm_vcpu_flush_tlb_guest(vcpu);
  yield* WRITE_ONCE(vcpu.preempted, 0);
}

/** Before 8c6de56a42e0: the vCPU is loaded and put again without having run, and each put stores the byte. */
function* set_preempted_at_every_put(vcpu: PerCpu): Steps<void> {
  yield* WRITE_ONCE(vcpu.preempted, KVM_VCPU_PREEMPTED);
  yield* WRITE_ONCE(vcpu.preempted, KVM_VCPU_PREEMPTED);
}

export default scenario<{ readonly mm: Mm }>('kvm-pv-flush-lost', {
  title: 'A guest TLB flush that the host never does',
  citation:
    'linux commits b043138246a4 (the id is from memory) and 8c6de56a42e0, CVE-2019-3016, 2020',
  story:
    'A guest that wants to flush the TLB of a vCPU does not interrupt it if the host has taken it off its ' +
    'processor: it sets KVM_VCPU_FLUSH_TLB in a byte that both sides share, and the host flushes before the ' +
    'vCPU runs again. Until 2020 the host copied the byte, decided from the copy and wrote zero back. A ' +
    'request that arrives between the copy and the zero is lost, and the vCPU runs on with translations to ' +
    'pages that the guest has freed. A second mistake lost it the other way round: a vCPU that was put twice ' +
    'without having run in between got KVM_VCPU_PREEMPTED stored over the request. The cure is one atomic ' +
    'exchange, and a mark that is stored only once.',

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
    'the host is first': only(['fixed'], returned(try_cmpxchg, false)),
  },

  variants: {
    fixed: safe({ patches: [PV] }),
    'decided from a copy': fails('stale-translation', {
      shows: ['bug:kvm-pv-flush-lost'],
      patches: [PV, patch(record_steal_time, record_steal_time_from_copy)],
    }),
    'stored at every put': fails('stale-translation', {
      shows: ['bug:kvm-pv-flush-lost'],
      patches: [PV, patch(kvm_steal_time_set_preempted, set_preempted_at_every_put)],
    }),
  },
});
