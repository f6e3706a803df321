import { linux, manual } from '../base/citation.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
import { ARM64_RULES, arm64_config } from './arm64-rules.ts';
import type { Decoded } from './decode.ts';
import {
  bit,
  bits,
  changed,
  format,
  ignored,
  zero,
  type EntryFormat,
  type Field,
} from './entry-format.ts';
import {
  ONE_WORD,
  levelNames,
  machineOf,
  tableKind,
  type Level,
  type TableKind,
} from './table-kind.ts';
import { impossible } from './kconfig.ts';

/**
 * arm64 stage 1 (VMSAv8-64 descriptors), granules of 4, 16 and 64 KiB. Where the kernel uses bits that are
 * free for software, the names of 6.12 stand.
 *
 * A page that software may write but that is clean has DBM = 1 and AP[2] = 1 (read-only): hardware that
 * manages dirty state clears AP[2] at the first write instead of faulting.
 */

const ARM = 'Arm ARM DDI 0487, chapter D8';
export const DESCRIPTORS = manual(ARM, 'VMSAv8-64 translation table descriptor formats');
const PROT = linux('v6.12', 'arch/arm64/include/asm/pgtable-prot.h');
const SWAP = 'arch/arm64/include/asm/pgtable.h';

/** Linux programs MAIR_EL1 so. */
const ATTRIBUTES = {
  1: 'Normal, tagged',
  2: 'Normal, non-cacheable',
  3: 'Device-nGnRnE',
  4: 'Device-nGnRE',
};

const software = { role: 'software', cite: PROT } as const;
export const VALID: Field = bit('V', 0, 'valid', { is: 1 });
export const INVALID: Field = bit('V', 0, 'not valid', { is: 0 });

const PAGE: readonly Field[] = [
  ignored(63),
  bits('POIndex', 62, 60, 'permission overlay (protection key); else PBHA', { cite: PROT }),
  bit('PBHA', 59, 'page-based hardware attribute'),
  bit('UFFD_WP', 58, 'Linux 6.12: userfaultfd write protection', software),
  bit('DEVMAP', 57, 'Linux: device memory with struct pages (7.2: gone)', software),
  bit('SPECIAL', 56, 'Linux: no struct page', software),
  bit('DIRTY', 55, 'Linux: dirty, as software knows', software),
  bit('UXN', 54, 'no execute at EL0', { role: 'no-execute' }),
  bit('PXN', 53, 'no execute at EL1', { role: 'no-execute' }),
  bit('Cont', 52, 'one of an aligned run of equal entries'),
  bit('DBM', 51, 'dirty-bit modifier; Linux: writable'),
  bit('GP', 50, 'guarded page (BTI)'),
  bit('nG', 11, 'not global: tagged by ASID'),
  bit('AF', 10, 'access flag', { who: 'SW/HW', role: 'accessed' }),
  bits('SH', 9, 8, 'shareability', { values: { 0: '', 2: 'outer', 3: 'inner' } }),
  bit('AP2', 7, 'AP[2]: read-only; cleared by a write if DBM', { who: 'SW/HW', role: 'no-write' }),
  bit('AP1', 6, 'AP[1]: EL0 may access', { role: 'user' }),
  bit('NS', 5, 'non-secure output'),
  bits('Attr', 4, 2, 'AttrIndx: memory type, an index into MAIR', { values: ATTRIBUTES }),
  bit('T', 1, 'page', { is: 1 }),
  VALID,
];

export const BLOCK_TYPE: Field = bit('T', 1, 'block', { is: 0 });

const TABLE: readonly Field[] = [
  bit('NSTable', 63, 'everything below is non-secure'),
  bit('APTable1', 62, 'no writes below', { role: 'no-write' }),
  bit('APTable0', 61, 'no EL0 access below', { role: 'no-user' }),
  bit('UXNTable', 60, 'no execute at EL0 below', { role: 'no-execute' }),
  bit('PXNTable', 59, 'no execute at EL1 below', { role: 'no-execute' }),
  ignored(58, 51),
  zero(50),
  ignored(11),
  bit('AF', 10, 'access flag (FEAT_HAFT)', { who: 'SW/HW', role: 'accessed' }),
  ignored(9, 8),
  ignored(7, 2),
  bit('T', 1, 'table', { is: 1 }),
  VALID,
];

/** 52-bit output: not, as 64 KiB granules have it (FEAT_LPA), or as the others have it (FEAT_LPA2). */
export type Wide = 'no' | 'lpa' | 'lpa2';

export interface Shape {
  /** log2 of the granule. */
  readonly page: number;
  /** Width of the input address. */
  readonly input: number;
  readonly wide: Wide;
}

/** Lowest address bit that an entry of a level translates. */
export function shiftOf({ page }: Shape, at: number): number {
  return page + at * (page - 3);
}

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];

/** `2 MiB`. */
export function sizeText(shift: number): string {
  const unit = Math.floor(shift / 10) - 1;
  return `${2 ** (shift - 10 * (unit + 1))} ${UNITS[unit]}`;
}

/** Levels whose entries may be blocks. */
export function blockLevels({ page, wide }: Shape, levels: number): number[] {
  const narrow = page === 12 ? [1, 2] : [1];
  const all = wide === 'no' ? narrow : [...narrow, narrow.length + 1];
  return all.filter((at) => at < levels);
}

/** The output address from bit `from`, with the bits 49..12 that it leaves. */
export function output({ wide, page }: Shape, from: number, block: boolean): Field[] {
  const top = wide === 'lpa2' ? 49 : 47;
  const fields = [bits('OA', top, from, 'output address', { address: from })];
  if (top === 47) fields.push(zero(49, 48));
  const least = wide === 'lpa' ? 16 : 12;
  if (wide === 'lpa') fields.push(bits('OA', 15, 12, 'output address 51:48', { address: 48 }));
  if (wide === 'lpa2') {
    fields.push(bits('OA', 9, 8, 'output address 51:50; SH is in TCR', { address: 50 }));
  }
  if (from === least) return fields;
  if (!block || from <= 17) return [...fields, zero(from - 1, least)];
  const nT = bit('nT', 16, 'the block is being changed (FEAT_BBM)');
  const between = least < 16 ? [zero(15, least)] : [];
  return page > 16 ? fields : [...fields, zero(from - 1, 17), nT, ...between];
}

/** Dirty as hardware says (DBM and no AP[2]) or as software remembers. */
function dirty(entry: bigint): { readonly dirty: boolean } {
  const byHardware = ((entry >> 51n) & 1n) === 1n && ((entry >> 7n) & 1n) === 0n;
  return { dirty: byHardware || ((entry >> 55n) & 1n) === 1n };
}

/** Formats that Linux gives to invalid entries; the last one is whatever else is not valid. */
function absent(page: readonly Field[], upper: readonly number[]): EntryFormat[] {
  const every = [0, ...upper];
  const invalid = changed(page, INVALID, bit('T', 1, 'page, not block'));
  const kept = bit('INVAL', 11, 'present for Linux though not valid', { is: 1 });
  const nobody = [
    bit('AP1', 6, 'EL0 may not access', { is: 0 }),
    bit('UXN', 54, 'no execute at EL0', { is: 1 }),
  ];
  const none = bits('0', 63, 0, 'all zero', { is: 0 });
  const swap = [
    INVALID,
    bit('T', 1, 'swap', { is: 0 }),
    bit('EXCL', 2, 'the page belongs to one process'),
  ];
  const at = (version: string, symbol: string): EntryFormat['cite'] => linux(version, SWAP, symbol);
  return [
    format({
      name: 'empty entry',
      kind: 'none',
      levels: every,
      fields: [none],
      cite: at('v6.12', 'pte_none'),
    }),
    format({
      name: 'PROT_NONE page',
      kind: 'absent',
      levels: [0, 1],
      fields: changed(invalid, kept, ...nobody),
      cite: at('v6.12', 'pte_protnone'),
    }),
    format({
      name: 'block being split',
      kind: 'absent',
      levels: [1],
      fields: changed(invalid, kept),
      cite: at('v6.12', 'pmd_mkinvalid'),
    }),
    format({
      name: 'swap entry',
      kind: 'absent',
      levels: [0, 1],
      fields: [
        ...swap,
        ignored(63, 62),
        bits('offset', 61, 12, 'offset in the swap file, or page frame number'),
        bit('INVAL', 11, 'not a page that is present for Linux', { is: 0 }),
        bits('type', 10, 6, 'swap file, or what else is remembered'),
        ignored(5, 4),
        bit('UFFD_WP', 3, 'userfaultfd write protection'),
      ],
      cite: at('v6.12', '__swp_entry'),
    }),
    format({
      name: 'PROT_NONE page',
      kind: 'absent',
      levels: [0, 1],
      only: 'linux 6.1',
      fields: changed(invalid, bit('NONE', 58, 'nobody may access it', { is: 1 })),
      cite: linux('v6.1', 'arch/arm64/include/asm/pgtable-prot.h', 'PTE_PROT_NONE'),
    }),
    format({
      name: 'swap entry',
      kind: 'absent',
      levels: [0, 1],
      only: 'linux 6.1',
      fields: [
        ...swap,
        ignored(63, 59),
        bit('NONE', 58, 'not a PROT_NONE page', { is: 0 }),
        bits('offset', 57, 8, 'offset in the swap file, or page frame number'),
        bits('type', 7, 3, 'swap file, or what else is remembered'),
      ],
      matches: (entry) => entry !== 0n,
      cite: at('v6.1', '__swp_entry'),
    }),
    format({
      name: 'not valid',
      kind: 'absent',
      levels: every,
      fields: [ignored(63, 1), INVALID],
      cite: DESCRIPTORS,
    }),
  ];
}

function formats(shape: Shape, count: number): EntryFormat[] {
  const upper = Array.from({ length: count - 1 }, (_, at) => at + 1);
  const blocks = blockLevels(shape, count);
  const page = changed(PAGE, ...output(shape, shape.page, false));
  const leaf = (levels: number[], name: string, fields: readonly Field[]): EntryFormat =>
    format({ name, kind: 'leaf', levels, fields, cite: DESCRIPTORS, derived: dirty });
  return [
    leaf([0], `${sizeText(shape.page)} page`, page),
    ...blocks.map((at) => {
      const fields = changed(PAGE, BLOCK_TYPE, ...output(shape, shiftOf(shape, at), true));
      return leaf([at], `${sizeText(shiftOf(shape, at))} block`, fields);
    }),
    format({
      name: 'table',
      kind: 'table',
      levels: upper,
      fields: changed(TABLE, ...output(shape, shape.page, false)),
      cite: DESCRIPTORS,
    }),
    reserved([0, ...upper].filter((at) => !blocks.includes(at))),
    ...absent(page, upper),
  ];
}

/** V = 1, T = 0 where there are no blocks. */
export function reserved(levels: readonly number[]): EntryFormat {
  return format({
    name: 'reserved encoding, faults',
    kind: 'absent',
    levels,
    fields: [ignored(63, 2), bit('T', 1, 'no block is allowed here', { is: 0 }), VALID],
    cite: DESCRIPTORS,
  });
}

export function levels(shape: Shape, count: number): Level[] {
  return levelNames(count).map((name, at) => {
    const shift = shiftOf(shape, at);
    const width = at === count - 1 ? shape.input - shift : shape.page - 3;
    return {
      name,
      title: `level ${3 - at} table`,
      shift,
      bits: width,
      bytes: 8 * 2 ** width,
      align: Math.max(64, 8 * 2 ** width),
      cite: manual(ARM, 'Translation table walks, granule sizes and levels'),
    };
  });
}

/** Hardware that manages both: AF is set, and the first write to a clean writable page clears AP[2]. */
function touch(entry: Decoded, value: bigint, write: boolean): bigint | null {
  if (!entry.present) return null;
  if (entry.table) return write && !entry.writable ? null : value;
  const accessed = value | (1n << 10n);
  if (!write || entry.writable) return accessed;
  return ((value >> 51n) & 1n) === 1n ? accessed & ~(1n << 7n) : null;
}

const TTBR: EntryFormat = format({
  name: 'TTBR',
  kind: 'table',
  levels: [],
  fields: [
    bits('ASID', 63, 48, 'address-space identifier, if TCR_EL1.A1 chooses this register'),
    bits('BADDR', 47, 1, 'physical address of the top-level table', { address: 1 }),
    bit('CnP', 0, 'common, not private: shared by the processors of the domain'),
  ],
  cite: manual('Arm ARM DDI 0487', 'TTBR0_EL1, TTBR1_EL1'),
});

function kind(name: string, shape: Shape): TableKind {
  const count = Math.floor((shape.input - 4) / (shape.page - 3));
  return tableKind({
    name,
    title: `arm64, ${sizeText(shape.page)} pages, ${shape.input}-bit addresses`,
    stage: 1,
    byteOrder: 'little',
    pageShift: shape.page,
    levels: levels(shape, count),
    addressBits: shape.input,
    upperBits: 'root',
    formats: formats(shape, count),
    roots: [TTBR],
    access: ONE_WORD,
    hardware: { accessed: 'optional', dirty: 'optional', tables: false },
    touch,
    rules: ARM64_RULES,
    links: {},
    maps: (_at, { writable }) => ({
      AP1: 1n,
      ...(shape.wide === 'lpa2' ? {} : { SH: 3n }),
      AF: 1n,
      AP2: writable ? 0n : 1n,
    }),
  });
}

export const arm64_tables: TableKind = kind('arm64', { page: 12, input: 48, wide: 'no' });
export const arm64_16k_tables: TableKind = kind('arm64_16k', { page: 14, input: 48, wide: 'no' });
export const arm64_64k_tables: TableKind = kind('arm64_64k', { page: 16, input: 48, wide: 'no' });
export const arm64_lpa2_tables: TableKind = kind('arm64_lpa2', {
  page: 12,
  input: 52,
  wide: 'lpa2',
});
export const arm64_16k_lpa2_tables: TableKind = kind('arm64_16k_lpa2', {
  page: 14,
  input: 52,
  wide: 'lpa2',
});
export const arm64_64k_lpa_tables: TableKind = kind('arm64_64k_lpa', {
  page: 16,
  input: 52,
  wide: 'lpa',
});

const machine = {
  flush: 'broadcast',
  weaklyOrdered: true,
  config: arm64_config,
  impossible,
} as const;

export const arm64_descriptors: Readonly<Record<'4k' | '16k' | '64k', ArchDescriptor>> = {
  '4k': machineOf(arm64_tables, machine),
  '16k': machineOf(arm64_16k_tables, machine),
  '64k': machineOf(arm64_64k_tables, machine),
};
