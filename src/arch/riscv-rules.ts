import { fact, linux, manual } from '../base/citation.ts';
import type { KernelConfig } from '../machine/arch.ts';
import type { Rules } from './table-kind.ts';
import { BROADCAST_WAITS } from './waits.ts';

/** What holds for RISC-V: who writes entries, what a flush waits for, what protects a walker. */

const ISA = 'RISC-V Instruction Set Manual, Volume II, Supervisor-Level ISA';
const FLUSH = 'arch/riscv/mm/tlbflush.c';

export const RISCV_RULES: Rules = {
  waits: BROADCAST_WAITS,
  access: [
    fact(
      'An entry is one aligned 64-bit word: every load and store of it is atomic.',
      linux('v6.12', 'arch/riscv/include/asm/pgtable.h', 'set_pte'),
    ),
  ],
  hardware: [
    fact(
      'Svade: an access with A = 0, or a store with D = 0, faults, and software sets the bit.',
      manual(ISA, '"Svade" Extension'),
    ),
    fact(
      'Svadu (menvcfg.ADUE): hardware sets them, atomically with the check of permissions.',
      manual(ISA, '"Svadu" Extension'),
    ),
    fact(
      'In entries that point to tables A and D are reserved; bits are never cleared by hardware.',
      manual(ISA, 'Sv39, Sv48, Sv57: Virtual Address Translation Process'),
    ),
  ],
  flush: [
    fact(
      'By a request to the firmware, or by interrupt: sfence.vma acts on the local hart only.',
      linux('v6.12', FLUSH, '__flush_tlb_range'),
    ),
    fact(
      'It returns when every hart in the mask has fenced; a remote fence of the firmware does not wait for' +
        ' regions with interrupts off in the kernel.',
      linux('v6.12', FLUSH, 'sbi_remote_sfence_vma_asid'),
    ),
  ],
  walkers: [
    fact(
      'MMU_GATHER_RCU_TABLE_FREE is selected with SMP and an MMU: interrupts off is an RCU section.',
      linux('v6.12', 'arch/riscv/Kconfig', 'MMU_GATHER_RCU_TABLE_FREE'),
    ),
    fact(
      'Tables go through RCU where the firmware sends the fences; where the kernel sends interrupts, they' +
        ' are freed right after the flush.',
      linux('v6.12', 'arch/riscv/include/asm/pgalloc.h', 'riscv_tlb_remove_ptdesc'),
    ),
  ],
  tables: [
    fact(
      'Every table fills a page of 4 KiB: 512 entries of 8 bytes. The root of a second stage fills four.',
      manual(ISA, 'Sv39, Sv48, Sv57: Addressing and Memory Protection'),
    ),
  ],
};

/** linux v6.12 arch/riscv/Kconfig selects MMU_GATHER_RCU_TABLE_FREE if SMP && MMU. */
export const riscv_config: KernelConfig = {
  MMU_GATHER_TABLE_FREE: true,
  MMU_GATHER_RCU_TABLE_FREE: true,
  PT_RECLAIM: false,
  MAX_TABLE_BATCH: 4,
  MAX_GATHER_BATCH: 8,
};
