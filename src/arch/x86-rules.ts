import { fact, linux, manual } from '../base/citation.ts';
import type { KernelConfig } from '../machine/arch.ts';
import type { Rules } from './table-kind.ts';
import { X86_WAITS } from './waits.ts';

/** What holds for all of x86: who writes entries, what a flush waits for, what protects a walker. */

const SDM = 'Intel SDM vol. 3A, chapter Paging';
const GATHER = 'mm/mmu_gather.c';

export const X86_RULES: Rules = {
  waits: X86_WAITS,
  access: [
    fact(
      'An entry is one aligned 64-bit word: every load and store of it is atomic.',
      linux('v6.12', 'arch/x86/include/asm/pgtable_64.h', 'native_set_pte'),
    ),
    fact(
      'The kernel clears a live entry by an atomic exchange, so that no bit the processor sets is lost.',
      linux('v6.12', 'arch/x86/include/asm/pgtable_64.h', 'native_ptep_get_and_clear'),
    ),
  ],
  hardware: [
    fact(
      'A is set in every entry of a walk, tables included, and may be set speculatively.',
      manual(SDM, 'Accessed and Dirty Flags'),
    ),
    fact(
      'D is set in the leaf by a write, never speculatively. Neither is ever cleared by hardware.',
      manual(SDM, 'Accessed and Dirty Flags'),
    ),
    fact(
      'Both are set by a locked read-modify-write of an entry that is still present.',
      manual(SDM, 'Accessed and Dirty Flags'),
    ),
    fact(
      'A translation cached with A or D set is used without looking at memory: a flush must follow clearing.',
      manual(SDM, 'Accessed and Dirty Flags'),
    ),
  ],
  flush: [
    fact(
      'By interrupt: flush_tlb_mm_range() returns when every CPU in mm_cpumask has run its handler.',
      linux('v6.12', 'arch/x86/mm/tlb.c', 'native_flush_tlb_multi'),
    ),
    fact(
      'It therefore waits for regions with interrupts off on those CPUs, but for no other reader.',
      linux('v6.12', 'mm/gup.c', 'gup_fast'),
    ),
    fact(
      'A lazy CPU is skipped unless tables are freed.',
      linux('v6.12', 'arch/x86/mm/tlb.c', 'flush_tlb_multi, tlb_is_not_lazy'),
    ),
    fact(
      'A KVM guest does not wait for a vCPU that the host has descheduled: it flushes on entry.',
      linux('v6.12', 'arch/x86/kernel/kvm.c', 'kvm_flush_tlb_multi'),
    ),
  ],
  walkers: [
    fact(
      'GUP-fast walks with interrupts off; with MMU_GATHER_RCU_TABLE_FREE that is an RCU read-side section.',
      linux('v6.12', 'mm/gup.c', 'gup_fast'),
    ),
    fact(
      'Without RCU freeing, the interrupt of the flush keeps a table alive while interrupts are off.',
      linux('v6.12', GATHER, 'tlb_remove_table_smp_sync'),
    ),
    fact(
      'MMU_GATHER_RCU_TABLE_FREE is selected with PARAVIRT, and always from 6.15 on.',
      linux('v6.12', 'arch/x86/Kconfig', 'MMU_GATHER_RCU_TABLE_FREE'),
    ),
  ],
  tables: [
    fact(
      'Every table fills a page of 4 KiB: 512 entries of 8 bytes.',
      manual(SDM, '4-Level Paging and 5-Level Paging'),
    ),
    fact(
      'With PCID, cached translations carry the tag of their address space and survive a CR3 load.',
      manual(SDM, 'Process-Context Identifiers (PCIDs)'),
    ),
  ],
};

/** x86 selects RCU table freeing unconditionally since v6.15 (a37259732a7d); before, with PARAVIRT. */
export const x86_config: KernelConfig = {
  MMU_GATHER_TABLE_FREE: true,
  MMU_GATHER_RCU_TABLE_FREE: true,
  PT_RECLAIM: false,
  MAX_TABLE_BATCH: 4,
  MAX_GATHER_BATCH: 8,
};
