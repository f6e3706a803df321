import { fact, linux, manual } from '../base/citation.ts';
import type { KernelConfig } from '../machine/arch.ts';
import type { Rules } from './table-kind.ts';
import { BROADCAST_WAITS } from './waits.ts';

/** What holds for arm64, both stages: who writes entries, what a flush waits for, what protects a walker. */

const ARM = 'Arm ARM DDI 0487, chapter D8';

export const ARM64_RULES: Rules = {
  waits: BROADCAST_WAITS,
  access: [
    fact(
      'An entry is one aligned 64-bit word: every load and store of it is atomic.',
      linux('v6.12', 'arch/arm64/include/asm/pgtable.h', '__set_pte'),
    ),
    fact(
      'A valid entry must not become another valid one at once if address or attributes change:' +
        ' break (clear, flush), then make.',
      manual(ARM, 'TLB maintenance requirements, break-before-make'),
    ),
  ],
  hardware: [
    fact(
      'With TCR_EL1.HA hardware sets AF; without it an access to a page with AF = 0 faults.',
      manual(ARM, 'Hardware management of the Access flag'),
    ),
    fact(
      'With TCR_EL1.HD a write to a page with DBM = 1 and AP[2] = 1 clears AP[2] instead of faulting.',
      manual(ARM, 'Hardware management of dirty state'),
    ),
    fact(
      'Updates are atomic; hardware never sets DBM and never clears AF.',
      manual(ARM, 'Hardware management of dirty state'),
    ),
    fact(
      'Entries that point to tables get an access flag only with FEAT_HAFT.',
      manual(ARM, 'Hardware managed Table descriptor Access flag'),
    ),
  ],
  flush: [
    fact(
      'By broadcast: TLBI ...IS, then DSB ISH waits until the invalidation has taken effect everywhere.',
      linux('v6.12', 'arch/arm64/include/asm/tlbflush.h', '__flush_tlb_range'),
    ),
    fact(
      'Other CPUs execute nothing: interrupts off, or a descheduled vCPU, hold nothing up.',
      linux('v6.12', 'arch/arm64/include/asm/tlbflush.h'),
    ),
  ],
  walkers: [
    fact(
      'RCU alone: tables are freed by call_rcu(), or after an interrupt to all CPUs if there is no memory.',
      linux('v6.12', 'arch/arm64/Kconfig', 'MMU_GATHER_RCU_TABLE_FREE'),
    ),
  ],
  tables: [
    fact(
      'A table fills one granule, but for the top level, whose index has the bits that are left.',
      manual(ARM, 'Translation table walks, granule sizes and levels'),
    ),
    fact(
      'Contiguous runs: 16 entries with 4 KiB granules; 128 pages or 32 blocks with 16 KiB; 32 with 64 KiB.',
      linux('v6.12', 'arch/arm64/Kconfig', 'ARM64_CONT_PTE_SHIFT, ARM64_CONT_PMD_SHIFT'),
    ),
  ],
};

/** linux v6.12 arch/arm64/Kconfig selects MMU_GATHER_RCU_TABLE_FREE. */
export const arm64_config: KernelConfig = {
  MMU_GATHER_TABLE_FREE: true,
  MMU_GATHER_RCU_TABLE_FREE: true,
  PT_RECLAIM: false,
  MAX_TABLE_BATCH: 4,
  MAX_GATHER_BATCH: 8,
};
