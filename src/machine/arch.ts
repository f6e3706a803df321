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
  /** log2 of the base page's size. */
  readonly pageShift: number;
  /** How one entry is read and written. */
  readonly access: EntryAccess;
  /** What hardware writes into entries by itself. */
  readonly hardware: HardwareWrites;
  /** Meaning of an entry of the table at `level`. */
  decode(level: number, bits: bigint): DecodedEntry;
  /** An entry that says nothing: what a fresh table is full of. */
  none(level: number): bigint;
  /** An entry that points to a next-level table in `frame`. */
  table(level: number, frame: number): bigint;
  /** An entry that maps page `frame`. */
  leaf(level: number, frame: number, permissions: LeafPermissions): bigint;
  /** An entry that is not present and tells software that page `frame` is on the move (a migration entry). */
  absent(level: number, frame: number): bigint;
  /** The entry with other marks and permissions, as pte_mkclean() and pte_wrprotect() make it. */
  change(level: number, bits: bigint, marks: LeafMarks): bigint;
  /** Its processors reorder accesses in ways that x86-TSO does not. */
  readonly weaklyOrdered?: true;
  /** How a TLB shootdown reaches other CPUs. */
  readonly flush: Shootdown;
  /** The kinds of tables that a hypervisor on such a machine gives to its guests (`machine/stages.ts`). */
  readonly seconds?: readonly SecondStage[];
  /** What an entry that a hypervisor has made says to it; null if it maps nothing, or is not of its tables. */
  readonly notes?: (level: number, bits: bigint) => EntryNotes | null;
  /** Kernel configuration that the architecture's kernels are built with. */
  readonly config: KernelConfig;
  /** Values of configuration keys that such a kernel cannot have, with the reason. */
  readonly impossible?: (config: KernelConfig) => string | null;
}

/** Tables that a hypervisor makes: what hardware and software need to know of their entries. */
export type SecondStage = Pick<
  ArchDescriptor,
  | 'name'
  | 'title'
  | 'levels'
  | 'hardware'
  | 'decode'
  | 'none'
  | 'table'
  | 'leaf'
  | 'change'
  | 'notes'
>;

/** What software reads in an entry that maps something, whether hardware may use it now or not. */
export interface EntryNotes {
  /** Page frame number of the page or table. */
  readonly frame: number;
  /** Permissions and marks of an entry that maps a page, each a word; none of a table's. */
  readonly marks: string;
}

/**
 * By an interrupt that they must take, or without their help: arm64's TLBI, powerpc's tlbie, s390's IDTE, a
 * call of RISC-V's firmware.
 */
export type Shootdown = 'ipi' | 'tlbi' | 'tlbie' | 'idte' | 'sbi';

export interface TableLevel {
  /** `pte`, `pmd`, `pud`, `pgd`. */
  readonly name: string;
  /** Lowest bit of the virtual address that indexes it. */
  readonly shift: number;
  /** Index width in bits. */
  readonly bits: number;
}

export interface DecodedEntry {
  /** Hardware translates by it. */
  readonly present: boolean;
  /** Points to a next-level table. */
  readonly table: boolean;
  /** pXd_none(): nothing is mapped there and nothing is remembered. */
  readonly none: boolean;
  readonly writable: boolean;
  /** Somebody has written through it; false where entries do not say so. */
  readonly dirty?: boolean;
  /** Somebody has used it; false where entries do not say so. */
  readonly accessed?: boolean;
  /** Page frame number of the page or table. */
  readonly frame: number;
}

export interface LeafPermissions {
  readonly writable: boolean;
  /** Only where it is said; as the kernel maps data if not. */
  readonly executable?: boolean;
}

export interface LeafMarks {
  readonly writable?: boolean;
  readonly dirty?: boolean;
  readonly accessed?: boolean;
}

/** A half of an entry that the kernel accesses by itself. */
export type Half = 'low' | 'high';

/**
 * The accesses that make up one load or store of an entry, in their order: one of the whole word, or of
 * halves. A store that must be atomic (an exchange) is always whole.
 */
export interface EntryAccess {
  readonly load: readonly (Half | 'whole')[];
  /** A value is stored where there was none. */
  readonly set: readonly (Half | 'whole')[];
  /** An entry is cleared without asking what it was. */
  readonly clear: readonly (Half | 'whole')[];
}

/** What hardware writes into entries: `optional` if kernel or processor may do without. */
export interface HardwareWrites {
  readonly accessed: 'always' | 'optional' | 'never';
  readonly dirty: 'always' | 'optional' | 'never';
  /** Accessed marks in entries that point to tables, too. */
  readonly tables: boolean;
  /**
   * The entry after an access through it, written in one atomic read-modify-write by hardware that writes;
   * null if the access faults.
   */
  readonly touch: (
    level: number,
    bits: bigint,
    access: { readonly write: boolean },
  ) => bigint | null;
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
  /** Pages that are collected before a flush: MMU_GATHER_BUNDLE, the batch on the stack. */
  readonly MAX_GATHER_BATCH: number;
  /** The primary MMU tells secondary ones what it takes away; off where it is not said. */
  readonly MMU_NOTIFIER?: boolean;
}
