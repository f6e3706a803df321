// The host emulates a store of one vCPU.  May another vCPU's flush complete, and the page be freed, before
// the emulator has stored?  linux v6.12 arch/x86/kvm/x86.c; 6cd88243c7e0 "KVM: x86: do not report a vCPU as
// preempted outside instruction boundaries", CVE-2022-39189.
import { entered, fails, nop, patch, returned, safe, scenario } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  flush_tlb_multi,
  kvm_at_instruction_boundary,
  kvm_emulating_host,
  kvm_flush_tlb_multi,
  kvm_mmu_gva_to_gpa,
  memcpy_to_page,
  munmap,
  new_mm,
  new_page,
  try_cmpxchg,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;
const PV = patch(flush_tlb_multi, kvm_flush_tlb_multi);

export default scenario<{ readonly mm: Mm }>('emulation-vs-pv-tlb-flush', {
  machine: x86_64.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }),
  host: kvm_emulating_host(ADDR),

  setup: (m) => ({
    mm: new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') }),
  }),

  run: {
    vCPU0: nop, // in user mode
    vCPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'the flush leaves the interrupt out': returned(try_cmpxchg, true),
    'the emulator stores': entered(null, memcpy_to_page),
    'the emulator finds nothing mapped': returned(kvm_mmu_gva_to_gpa, null),
  },

  variants: {
    pv: safe({ patches: [PV], shows: ['mm:C13'] }),
    // The vCPU is reported as preempted wherever its thread loses the processor.
    'preempted anywhere': fails('use-after-free', {
      shows: ['M4.10', 'L13', 'mm:C13'],
      patches: [
        PV,
        patch(kvm_at_instruction_boundary, function* () {
          return true;
        }),
      ],
    }),
  },
});
