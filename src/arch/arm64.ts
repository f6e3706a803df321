import type {
  ArchDescriptor,
  DecodedEntry,
  KernelConfig,
  LeafPermissions,
} from '../machine/arch.ts';

/**
 * arm64 stage 1, 4 KiB granule, 48-bit addresses (Arm ARM DDI 0487, section D8.3, VMSAv8-64 descriptors).
 *
 *     63..55    54   53   52   51  50..48  47..12         11  10  9..8  7      6      5   4..2      1     0
 *     software  UXN  PXN  Con  DBM res     output address nG  AF  SH    AP[2]  AP[1]  NS  AttrIndx  type  valid
 *
 * At the last level `type` must be 1 for a page; above it 1 means table and 0 block. TLB maintenance by
 * `TLBI ...IS` is broadcast by hardware: other CPUs execute nothing and their interrupt state is irrelevant,
 * so software walkers are protected by RCU alone (linux v6.12 arch/arm64/Kconfig selects
 * MMU_GATHER_RCU_TABLE_FREE).
 */

const VALID = 1n << 0n;
const TYPE = 1n << 1n;
const AP_USER = 1n << 6n;
const AP_READ_ONLY = 1n << 7n;
const SHARED_INNER = 3n << 8n;
const ACCESS_FLAG = 1n << 10n;
const FRAME_SHIFT = 12n;
const FRAME_MASK = ((1n << 48n) - 1n) & ~((1n << 12n) - 1n);

function decode(level: number, bits: bigint): DecodedEntry {
  const valid = (bits & VALID) !== 0n;
  const type = (bits & TYPE) !== 0n;
  return {
    present: valid && (level > 0 || type),
    table: valid && level > 0 && type,
    writable: (bits & AP_READ_ONLY) === 0n,
    frame: Number((bits & FRAME_MASK) >> FRAME_SHIFT),
  };
}

function table(_level: number, frame: number): bigint {
  return (BigInt(frame) << FRAME_SHIFT) | VALID | TYPE;
}

function leaf(level: number, frame: number, permissions: LeafPermissions): bigint {
  const type = level === 0 ? TYPE : 0n;
  const readOnly = permissions.writable ? 0n : AP_READ_ONLY;
  const flags = VALID | AP_USER | SHARED_INNER | ACCESS_FLAG | type | readOnly;
  return (BigInt(frame) << FRAME_SHIFT) | flags;
}

const config: KernelConfig = {
  MMU_GATHER_TABLE_FREE: true,
  MMU_GATHER_RCU_TABLE_FREE: true,
  PT_RECLAIM: false,
  MAX_TABLE_BATCH: 4,
};

export const arm64_descriptor: ArchDescriptor = {
  name: 'arm64',
  title: 'arm64',
  weaklyOrdered: true,
  levels: [
    { name: 'pte', shift: 12, bits: 9 },
    { name: 'pmd', shift: 21, bits: 9 },
    { name: 'pud', shift: 30, bits: 9 },
    { name: 'pgd', shift: 39, bits: 9 },
  ],
  decode,
  table,
  leaf,
  flush: 'broadcast',
  config,
};
