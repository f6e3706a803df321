/**
 * What an architecture descriptor must provide. Descriptors live in `src/arch/`, one per architecture and
 * table kind; the machine and the protocols ask this interface and never which architecture they run on.
 */
export interface ArchDescriptor {
  /** `x86_64`, `arm64`: as users write it. */
  readonly name: string;
  readonly title: string;
  /** Page-table levels, leaf tables first: `levels[0]` holds PTEs. */
  readonly levels: readonly TableLevel[];
  /** Meaning of an entry of the table at `level`. */
  decode(level: number, bits: bigint): DecodedEntry;
  /** An entry that points to a next-level table in `frame`. */
  table(level: number, frame: number): bigint;
  /** An entry that maps page `frame`. */
  leaf(level: number, frame: number, permissions: LeafPermissions): bigint;
  /** Its processors reorder accesses in ways that x86-TSO does not. */
  readonly weaklyOrdered?: true;
  /** How a TLB shootdown reaches other CPUs: by an interrupt they must take, or without their help. */
  readonly flush: 'ipi' | 'broadcast';
  /** Kernel configuration that the architecture's kernels are built with. */
  readonly config: KernelConfig;
  /** Values of configuration keys that such a kernel cannot have, with the reason. */
  readonly impossible?: (config: KernelConfig) => string | null;
}

export interface TableLevel {
  /** `pte`, `pmd`, `pud`, `pgd`. */
  readonly name: string;
  /** Lowest bit of the virtual address that indexes it. */
  readonly shift: number;
  /** Index width in bits. */
  readonly bits: number;
}

export interface DecodedEntry {
  readonly present: boolean;
  /** Points to a next-level table. */
  readonly table: boolean;
  readonly writable: boolean;
  /** Page frame number of the page or table. */
  readonly frame: number;
}

export interface LeafPermissions {
  readonly writable: boolean;
}

export interface KernelConfig {
  /** Page tables are freed through RCU (with a synchronous fallback) instead of right after the flush. */
  readonly MMU_GATHER_RCU_TABLE_FREE: boolean;
  /** Page tables are collected in batches and freed right after the flush. */
  readonly MMU_GATHER_TABLE_FREE: boolean;
  /** The allocation-failure path of table freeing hands the table to RCU itself (6.14's PT_RECLAIM). */
  readonly PT_RECLAIM: boolean;
  /** Tables that fit one batch page: 509 in the kernel; small here so that full batches are explored. */
  readonly MAX_TABLE_BATCH: number;
}
