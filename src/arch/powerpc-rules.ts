import { fact, linux, manual } from '../base/citation.ts';
import type { KernelConfig } from '../machine/arch.ts';
import type { Rules } from './table-kind.ts';
import { BROADCAST_WAITS } from './waits.ts';

/** What holds for powerpc radix: who writes entries, what a flush waits for, where tables live. */

const ISA = 'Power ISA 3.1, Book III, Radix Tree Translation';
const KVM = 'arch/powerpc/kvm/book3s_64_mmu_radix.c';

export const POWERPC_RULES: Rules = {
  waits: BROADCAST_WAITS,
  access: [
    fact(
      'An entry is one aligned 64-bit word, big-endian in memory; atomic changes are ldarx/stdcx. loops.',
      linux('v6.12', 'arch/powerpc/include/asm/book3s/64/radix.h', '__radix_pte_update'),
    ),
  ],
  hardware: [
    fact(
      'R and C are updated in memory atomically; an implementation may fault instead and let software do it.',
      manual(ISA, 'Reference and Change Recording'),
    ),
    fact(
      'A cleared entry may still receive a late write of R or C: the kernel ignores both in an empty entry.',
      linux('v6.12', 'arch/powerpc/include/asm/book3s/64/pgtable.h', 'pte_none'),
    ),
  ],
  flush: [
    fact(
      'By broadcast: tlbie, then eieio; tlbsync; ptesync waits until it has taken effect everywhere.',
      linux('v6.12', 'arch/powerpc/mm/book3s64/radix_tlb.c', '_tlbie_pid'),
    ),
    fact(
      'Tables need an invalidation of the page-walk cache besides: a flush of pages leaves it.',
      linux('v6.12', 'arch/powerpc/mm/book3s64/radix_tlb.c', 'RIC_FLUSH_PWC'),
    ),
    fact(
      'Other CPUs execute nothing: interrupts off holds nothing up.',
      linux('v6.12', 'arch/powerpc/mm/book3s64/radix_tlb.c'),
    ),
  ],
  walkers: [
    fact(
      'RCU alone: MMU_GATHER_RCU_TABLE_FREE is always on.',
      linux('v6.12', 'arch/powerpc/Kconfig', 'MMU_GATHER_RCU_TABLE_FREE'),
    ),
    fact(
      'Page-table fragments share a page: it is freed when the last is; none is handed out again before.',
      linux('v6.12', 'arch/powerpc/mm/pgtable-frag.c', 'pte_fragment_free'),
    ),
  ],
  tables: [
    fact(
      'With 64 KiB pages a page table is 256 bytes (32 entries), one of many fragments of a page.',
      linux('v6.12', 'arch/powerpc/include/asm/book3s/64/radix-64k.h', 'RADIX_PTE_INDEX_SIZE'),
    ),
    fact(
      'A table is aligned to its own size; its size is in the entry that points to it.',
      linux('v6.12', KVM, 'kvmppc_mmu_walk_radix_tree'),
    ),
    fact(
      'KVM takes page tables and page middle directories from slab caches of exactly their size.',
      linux('v6.12', KVM, 'kvmppc_radix_init'),
    ),
  ],
};

/** linux v6.12 arch/powerpc/Kconfig selects MMU_GATHER_RCU_TABLE_FREE. */
export const powerpc_config: KernelConfig = {
  MMU_GATHER_TABLE_FREE: true,
  MMU_GATHER_RCU_TABLE_FREE: true,
  PT_RECLAIM: false,
  MAX_TABLE_BATCH: 4,
  MAX_GATHER_BATCH: 8,
};
