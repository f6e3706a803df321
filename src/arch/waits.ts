import { linux, type Citation } from '../base/citation.ts';

/**
 * Which wait covers which reader of page tables: a table may be freed after a wait that covers the hardware
 * and one that covers the software readers in use.
 */

/** Who may still be looking at a table that was just unhooked. */
export interface Covers {
  /** A walk with interrupts off, of an address space that this CPU runs. */
  readonly irqOff: Answer;
  /** The same, of another address space. */
  readonly foreign: Answer;
  readonly rcuReadLock: Answer;
  /** A walk with interrupts off on a vCPU that the host has taken off its processor. */
  readonly descheduled: Answer;
  /** Translations and walk caches of the processors. */
  readonly hardware: Answer;
}

export type Answer = 'yes' | 'no' | 'if running' | 'unless lazy' | 'leaves';

export interface Wait {
  /** What the unmapping side does. */
  readonly by: string;
  readonly covers: Covers;
  readonly cite: Citation;
}

function wait(by: string, cite: Citation, answers: readonly Answer[]): Wait {
  const [irqOff, foreign, rcuReadLock, descheduled, hardware] = answers;
  const covers = { irqOff, foreign, rcuReadLock, descheduled, hardware } as Covers;
  return Object.freeze({ by, cite, covers });
}

const TLB = 'arch/x86/mm/tlb.c';

/** By interrupt, when tables were freed; and when only pages were. */
export const IPI_FLUSH: Wait = wait(
  'IPI flush, tables freed',
  linux('v6.12', TLB, 'flush_tlb_multi'),
  ['yes', 'no', 'no', 'yes', 'yes'],
);
export const IPI_FLUSH_PAGES: Wait = wait(
  'IPI flush, pages only',
  linux('v6.12', TLB, 'tlb_is_not_lazy'),
  ['unless lazy', 'no', 'no', 'yes', 'leaves'],
);
export const PV_FLUSH: Wait = wait(
  'KVM guest flush',
  linux('v6.12', 'arch/x86/kernel/kvm.c', 'kvm_flush_tlb_multi'),
  ['if running', 'no', 'no', 'no', 'yes'],
);
export const BROADCAST_FLUSH: Wait = wait(
  'broadcast flush',
  linux('v6.12', 'include/asm-generic/tlb.h', 'MMU_GATHER_RCU_TABLE_FREE'),
  ['no', 'no', 'no', 'no', 'yes'],
);
export const SYNC_ONE: Wait = wait(
  'IPI to all CPUs',
  linux('v6.12', 'mm/mmu_gather.c', 'tlb_remove_table_sync_one'),
  ['yes', 'yes', 'no', 'yes', 'no'],
);
export const CALL_RCU: Wait = wait(
  'call_rcu()',
  linux('v6.12', 'mm/mmu_gather.c', 'tlb_remove_table_free'),
  ['yes', 'yes', 'yes', 'yes', 'no'],
);

export const X86_WAITS: readonly Wait[] = [
  IPI_FLUSH,
  IPI_FLUSH_PAGES,
  PV_FLUSH,
  SYNC_ONE,
  CALL_RCU,
];
export const BROADCAST_WAITS: readonly Wait[] = [BROADCAST_FLUSH, SYNC_ONE, CALL_RCU];
