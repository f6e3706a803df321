import { fact, linux, manual } from '../base/citation.ts';
import type { KernelConfig } from '../machine/arch.ts';
import type { Rules } from './table-kind.ts';
import { BROADCAST_WAITS } from './waits.ts';

/** What holds for s390: who writes entries, what a flush waits for, where tables live. */

const POP = 'z/Architecture Principles of Operation, chapter 3';
const PGTABLE = 'arch/s390/include/asm/pgtable.h';

export const S390_RULES: Rules = {
  waits: BROADCAST_WAITS,
  access: [
    fact(
      'An entry is one aligned 64-bit word, big-endian in memory.',
      manual(POP, 'Dynamic Address Translation'),
    ),
    fact(
      'A valid entry that is attached must not be changed: IPTE (or IDTE, CRDTE) invalidates and flushes at once.',
      linux('v6.12', PGTABLE, 'ptep_xchg_direct'),
    ),
  ],
  hardware: [
    fact(
      'Nothing: reference and change are kept per page frame, in the storage key.',
      manual(POP, 'Storage Key, Reference Recording, Change Recording'),
    ),
    fact(
      'Linux emulates young by I and dirty by P, and sets its own bits when the access faults.',
      linux('v6.12', PGTABLE, 'table of page states'),
    ),
  ],
  flush: [
    fact(
      'By broadcast: IPTE, IDTE and CSP take effect on every CPU before they complete.',
      manual(POP, 'Translation-Lookaside Buffer, invalidation'),
    ),
    fact(
      'Clearing an entry flushes by itself; pages of a gather are therefore freed at once.',
      linux('v6.12', 'arch/s390/include/asm/tlb.h', '__tlb_remove_page_size'),
    ),
    fact(
      'A CPU that attaches an address space waits while a direct flush of it is going on (flush_count).',
      linux('v6.12', 'arch/s390/include/asm/mmu_context.h', 'finish_arch_post_lock_switch'),
    ),
  ],
  walkers: [
    fact(
      'RCU alone: MMU_GATHER_RCU_TABLE_FREE is always on.',
      linux('v6.12', 'arch/s390/Kconfig', 'MMU_GATHER_RCU_TABLE_FREE'),
    ),
  ],
  tables: [
    fact(
      'A page table is 2 KiB (256 entries); the others are 16 KiB (2048 entries), in blocks of 4 KiB.',
      manual(POP, 'Page Tables, Segment Tables, Region Tables'),
    ),
    fact(
      'In 6.1 two page tables share a page; a byte of its _refcount says which half is allocated or pending.',
      linux('v6.1', 'arch/s390/mm/pgalloc.c', 'page_table_alloc, page_table_free_rcu'),
    ),
    fact(
      'In 6.12 a page table has a page of its own; its upper half is for PGSTEs, if the process runs KVM.',
      linux('v6.12', 'arch/s390/mm/pgalloc.c', 'page_table_alloc'),
    ),
  ],
};

/** linux v6.12 arch/s390/Kconfig selects MMU_GATHER_RCU_TABLE_FREE. */
export const s390_config: KernelConfig = {
  MMU_GATHER_TABLE_FREE: true,
  MMU_GATHER_RCU_TABLE_FREE: true,
  PT_RECLAIM: false,
  MAX_TABLE_BATCH: 4,
  MAX_GATHER_BATCH: 8,
};
