import type {
  ArchDescriptor,
  DecodedEntry,
  KernelConfig,
  LeafPermissions,
} from '../machine/arch.ts';

/**
 * x86-64, 4-level paging with 4 KiB leaf pages (Intel SDM vol. 3A, section 4.5, tables 4-15 to 4-20).
 *
 *     63  62..52    51..12          11..9  8  7      6  5  4    3    2    1    0
 *     XD  ignored   physical frame  avail  G  PS/PAT D  A  PCD  PWT  U/S  R/W  P
 */

const PRESENT = 1n << 0n;
const WRITE = 1n << 1n;
const USER = 1n << 2n;
const ACCESSED = 1n << 5n;
const DIRTY = 1n << 6n;
const PAGE_SIZE_BIT = 1n << 7n;
const FRAME_SHIFT = 12n;
const FRAME_MASK = ((1n << 52n) - 1n) & ~((1n << 12n) - 1n);

/** linux v6.12 arch/x86/include/asm/pgtable_types.h: _PAGE_TABLE and PAGE_SHARED, without software bits. */
const TABLE_FLAGS = PRESENT | WRITE | USER | ACCESSED | DIRTY;

function decode(level: number, bits: bigint): DecodedEntry {
  const present = (bits & PRESENT) !== 0n;
  return {
    present,
    table: present && level > 0 && (bits & PAGE_SIZE_BIT) === 0n,
    writable: (bits & WRITE) !== 0n,
    frame: Number((bits & FRAME_MASK) >> FRAME_SHIFT),
  };
}

function table(_level: number, frame: number): bigint {
  return (BigInt(frame) << FRAME_SHIFT) | TABLE_FLAGS;
}

function leaf(level: number, frame: number, permissions: LeafPermissions): bigint {
  const large = level > 0 ? PAGE_SIZE_BIT : 0n;
  const writable = permissions.writable ? WRITE : 0n;
  return (BigInt(frame) << FRAME_SHIFT) | PRESENT | USER | ACCESSED | large | writable;
}

/** x86 selects RCU table freeing unconditionally since v6.15 (a37259732a7d); before, with PARAVIRT. */
const config: KernelConfig = {
  MMU_GATHER_TABLE_FREE: true,
  MMU_GATHER_RCU_TABLE_FREE: true,
  PT_RECLAIM: false,
  MAX_TABLE_BATCH: 4,
};

export const x86_64_descriptor: ArchDescriptor = {
  name: 'x86_64',
  title: 'x86-64',
  levels: [
    { name: 'pte', shift: 12, bits: 9 },
    { name: 'pmd', shift: 21, bits: 9 },
    { name: 'pud', shift: 30, bits: 9 },
    { name: 'pgd', shift: 39, bits: 9 },
  ],
  decode,
  table,
  leaf,
  flush: 'ipi',
  config,
};
