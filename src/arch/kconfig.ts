import type { KernelConfig } from '../machine/arch.ts';

/** What selects what on every architecture (linux v6.12 arch/Kconfig, v6.14 mm/Kconfig). */
export function impossible(config: KernelConfig): string | null {
  if (config.MMU_GATHER_RCU_TABLE_FREE && !config.MMU_GATHER_TABLE_FREE) {
    return 'MMU_GATHER_RCU_TABLE_FREE selects MMU_GATHER_TABLE_FREE: one is not without the other';
  }
  if (config.PT_RECLAIM && !config.MMU_GATHER_RCU_TABLE_FREE) {
    return 'PT_RECLAIM selects MMU_GATHER_RCU_TABLE_FREE: one is not without the other';
  }
  return null;
}
