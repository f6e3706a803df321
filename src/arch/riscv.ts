import { linux, manual } from '../base/citation.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
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
import { impossible } from './kconfig.ts';
import { RISCV_RULES, riscv_config } from './riscv-rules.ts';
import { ONE_WORD, levelNames, machineOf, tableKind, type TableKind } from './table-kind.ts';

/**
 * RISC-V Sv39, Sv48 and Sv57. An entry with V = 1 that allows nothing points to a table; one with any of R,
 * W, X is a leaf, at any level.
 */

const ISA = 'RISC-V Instruction Set Manual, Volume II, Supervisor-Level ISA';
const FORMATS = manual(ISA, 'Sv39, Sv48, Sv57: Page-Based Virtual-Memory Systems');
const SVNAPOT = manual(ISA, '"Svnapot" Standard Extension');
const PGTABLE = 'arch/riscv/include/asm/pgtable.h';
const software = {
  role: 'software',
  cite: linux('v6.12', 'arch/riscv/include/asm/pgtable-bits.h'),
} as const;

const V = bit('V', 0, 'valid', { is: 1 });
const ABSENT = bit('V', 0, 'not valid', { is: 0 });
const TYPES = { 0: '', 1: 'NC', 2: 'IO' };

const LEAF: readonly Field[] = [
  zero(63),
  bits('PBMT', 62, 61, 'memory type (Svpbmt)', { values: TYPES }),
  zero(60, 54),
  bit('SW9', 9, 'Linux 6.12: devmap (6.1, 7.2: free)', software),
  bit('SW8', 8, 'Linux: special', software),
  bit('D', 7, 'dirty', { who: 'SW/HW', role: 'dirty' }),
  bit('A', 6, 'accessed', { who: 'SW/HW', role: 'accessed' }),
  bit('G', 5, 'global'),
  bit('U', 4, 'user', { role: 'user' }),
  bit('X', 3, 'execute', { role: 'execute' }),
  bit('W', 2, 'write', { role: 'write' }),
  bit('R', 1, 'read', { role: 'read' }),
  V,
];

const TABLE: readonly Field[] = [
  zero(63, 54),
  bits('PPN', 53, 10, 'physical address of the next table', { address: 12 }),
  bits('RSW', 9, 8, 'free for software', { role: 'software' }),
  zero(7, 6),
  bit('G', 5, 'global: everything below'),
  zero(4),
  bits('XWR', 3, 1, 'no permission: this entry points to a table', { is: 0 }),
  V,
];

const allows = (entry: bigint): boolean => (entry & 0xen) !== 0n;

function refused(entry: bigint): string | null {
  if ((entry & 6n) === 4n) return 'write without read is reserved';
  return ((entry >> 61n) & 3n) === 3n ? 'memory type 3 is reserved' : null;
}

/** PPN of a leaf `level` levels above the last; what is below must be zero. */
function number(level: number): Field[] {
  const low = 10 + 9 * level;
  const ppn = bits('PPN', 53, low, 'physical address of the page', { address: low + 2 });
  return level === 0 ? [ppn] : [ppn, zero(low - 1, 10)];
}

const SIZES = ['4 KiB', '2 MiB', '1 GiB', '512 GiB', '256 TiB'];

function leaf(level: number): EntryFormat {
  return format({
    name: `${SIZES[level]} page`,
    kind: 'leaf',
    levels: [level],
    fields: changed(LEAF, ...number(level)),
    cite: FORMATS,
    matches: (entry) => allows(entry) && (level > 0 || entry >> 63n === 0n),
    refused,
  });
}

/** What Linux keeps in entries that are not valid. */
function kept(every: readonly number[]): EntryFormat[] {
  const page = changed(LEAF, ...number(0), ignored(63), ignored(60, 54), ABSENT);
  const swap = (
    only: string | undefined,
    version: string,
    low: number,
    ...marks: Field[]
  ): EntryFormat =>
    format({
      name: 'swap entry',
      kind: 'absent',
      levels: [0, 1],
      ...(only === undefined ? {} : { only }),
      fields: [
        bits('offset', 63, low, 'offset in the swap file, or page frame number'),
        bits('type', low - 1, low - 5, 'swap file, or what else is remembered'),
        ...marks,
        bit('G', 5, 'not a PROT_NONE page', { is: 0 }),
        ignored(4),
        bits('XWR', 3, 1, 'not a page', { is: 0 }),
        ABSENT,
      ],
      matches: (entry) => entry !== 0n,
      cite: linux(version, PGTABLE, '__swp_entry'),
    });
  return [
    format({
      name: 'PROT_NONE page',
      kind: 'absent',
      levels: [0, 1],
      fields: changed(page, bit('NONE', 5, 'nobody may access it now', { is: 1 })),
      cite: linux('v6.12', PGTABLE, '_PAGE_PROT_NONE'),
    }),
    format({
      name: '2 MiB page being split',
      kind: 'absent',
      levels: [1],
      fields: changed(page, bit('NONE', 5, 'not a PROT_NONE page', { is: 0 })),
      matches: allows,
      cite: linux('v6.12', PGTABLE, 'pmd_mkinvalid'),
    }),
    swap(undefined, 'v6.12', 12, bit('EXCL', 6, 'the page belongs to one process')),
    swap('linux 6.1', 'v6.1', 11),
    format({
      name: 'not valid',
      kind: 'absent',
      levels: every,
      fields: [ignored(63, 1), ABSENT],
      cite: FORMATS,
    }),
  ];
}

function formats(count: number): EntryFormat[] {
  const every = Array.from({ length: count }, (_, at) => at);
  return [
    ...every.map((level) => leaf(level)),
    format({
      name: '64 KiB page (NAPOT)',
      kind: 'leaf',
      levels: [0],
      fields: changed(
        LEAF,
        bit('N', 63, 'part of a naturally aligned run', { is: 1 }),
        bits('PPN', 53, 14, 'physical address of the run', { address: 16 }),
        bits('size', 13, 10, 'of the run: 64 KiB', { is: 8 }),
      ),
      cite: SVNAPOT,
      matches: allows,
      refused,
      derived: () => ({ leafShift: 16 }),
    }),
    format({
      name: 'run of pages',
      kind: 'absent',
      refused: () => 'its size is reserved',
      levels: [0],
      fields: [
        bit('N', 63, 'part of a naturally aligned run', { is: 1 }),
        ignored(62, 4),
        bits('XWR', 3, 1, 'permissions'),
        V,
      ],
      cite: SVNAPOT,
      matches: allows,
    }),
    format({ name: 'table', kind: 'table', levels: every.slice(1), fields: TABLE, cite: FORMATS }),
    format({
      name: 'table in the last level',
      kind: 'absent',
      refused: () => 'there is no level below',
      levels: [0],
      fields: [ignored(63, 4), bits('XWR', 3, 1, 'no permission', { is: 0 }), V],
      cite: FORMATS,
    }),
    format({
      name: 'empty entry',
      kind: 'none',
      levels: every,
      fields: [bits('0', 63, 0, 'all zero', { is: 0 })],
      cite: linux('v6.12', PGTABLE, 'pte_none'),
    }),
    ...kept(every),
  ];
}

const SATP: EntryFormat = format({
  name: 'satp',
  kind: 'table',
  levels: [],
  fields: [
    bits('MODE', 63, 60, 'scheme', { values: { 0: 'bare', 8: 'Sv39', 9: 'Sv48', 10: 'Sv57' } }),
    bits('ASID', 59, 44, 'address-space identifier'),
    bits('PPN', 43, 0, 'physical address of the root table', { address: 12 }),
  ],
  cite: manual(ISA, 'Supervisor Address Translation and Protection (satp) Register'),
});

const HGATP: EntryFormat = format({
  name: 'hgatp',
  kind: 'table',
  levels: [],
  fields: [
    bits('MODE', 63, 60, 'scheme', {
      values: { 0: 'bare', 8: 'Sv39x4', 9: 'Sv48x4', 10: 'Sv57x4' },
    }),
    zero(59, 58),
    bits('VMID', 57, 44, 'identifier of the guest'),
    bits('PPN', 43, 0, 'physical address of the root table, aligned to 16 KiB', { address: 12 }),
  ],
  cite: manual('RISC-V Instruction Set Manual, Volume II, Hypervisor Extension', 'hgatp'),
});

/** `extra` bits of the guest-physical address widen the root of a second stage. */
function kind(name: string, title: string, count: number, extra: 0 | 2): TableKind {
  return tableKind({
    name,
    title,
    stage: extra === 0 ? 1 : 2,
    byteOrder: 'little',
    pageShift: 12,
    levels: levelNames(count).map((linuxName, at) => {
      const width = at === count - 1 ? 9 + extra : 9;
      return {
        name: linuxName,
        title: `level ${at} table`,
        shift: 12 + 9 * at,
        bits: width,
        bytes: 8 * 2 ** width,
        align: 8 * 2 ** width,
        cite: FORMATS,
      };
    }),
    addressBits: 12 + 9 * count + extra,
    upperBits: extra === 0 ? 'sign' : 'zero',
    formats: formats(count),
    roots: [extra === 0 ? SATP : HGATP],
    access: ONE_WORD,
    hardware: { accessed: 'optional', dirty: 'optional', tables: false },
    rules: extra === 0 ? RISCV_RULES : { ...RISCV_RULES, waits: [] },
    links: {},
    maps: (_at, { writable }) => ({ R: 1n, W: writable ? 1n : 0n, U: 1n, A: 1n }),
  });
}

export const riscv_sv39_tables: TableKind = kind('riscv_sv39', 'RISC-V Sv39', 3, 0);
export const riscv_sv48_tables: TableKind = kind('riscv_sv48', 'RISC-V Sv48', 4, 0);
export const riscv_sv57_tables: TableKind = kind('riscv_sv57', 'RISC-V Sv57', 5, 0);
export const riscv_sv39x4_tables: TableKind = kind('riscv_sv39x4', 'RISC-V Sv39x4 (G-stage)', 3, 2);
export const riscv_sv48x4_tables: TableKind = kind('riscv_sv48x4', 'RISC-V Sv48x4 (G-stage)', 4, 2);

/** The firmware's remote fences reach harts that have interrupts off in the kernel: the weaker case. */
const machine = {
  flush: 'sbi',
  weaklyOrdered: true,
  config: riscv_config,
  impossible,
} as const;

export const riscv_descriptors: Readonly<Record<'sv39' | 'sv48' | 'sv57', ArchDescriptor>> = {
  sv39: machineOf(riscv_sv39_tables, machine),
  sv48: machineOf(riscv_sv48_tables, machine),
  sv57: machineOf(riscv_sv57_tables, machine),
};

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * riscv_sv57 pte: 4 KiB page
 *
 *     63  62..61  60..54  53..10  9    8    7  6  5  4  3  2  1  0
 *     0   PBMT    0       PPN     SW9  SW8  D  A  G  U  X  W  R  V
 *
 * riscv_sv57 pmd: 2 MiB page
 *
 *     63  62..61  60..54  53..19  18..10  9    8    7  6  5  4  3  2  1  0
 *     0   PBMT    0       PPN     0       SW9  SW8  D  A  G  U  X  W  R  V
 *
 * riscv_sv57 pud: 1 GiB page
 *
 *     63  62..61  60..54  53..28  27..10  9    8    7  6  5  4  3  2  1  0
 *     0   PBMT    0       PPN     0       SW9  SW8  D  A  G  U  X  W  R  V
 *
 * riscv_sv57 p4d: 512 GiB page
 *
 *     63  62..61  60..54  53..37  36..10  9    8    7  6  5  4  3  2  1  0
 *     0   PBMT    0       PPN     0       SW9  SW8  D  A  G  U  X  W  R  V
 *
 * riscv_sv57 pgd: 256 TiB page
 *
 *     63  62..61  60..54  53..46  45..10  9    8    7  6  5  4  3  2  1  0
 *     0   PBMT    0       PPN     0       SW9  SW8  D  A  G  U  X  W  R  V
 *
 * riscv_sv57 pte: 64 KiB page (NAPOT)
 *
 *     63  62..61  60..54  53..14  13..10  9    8    7  6  5  4  3  2  1  0
 *     N   PBMT    0       PPN     size    SW9  SW8  D  A  G  U  X  W  R  V
 *
 * riscv_sv57 pte: run of pages
 *
 *     63  62..4  3..1  0
 *     N   -      XWR   V
 *
 * riscv_sv57 pmd, pud, p4d, pgd: table
 *
 *     63..54  53..10  9..8  7..6  5  4  3..1  0
 *     0       PPN     RSW   0     G  0  XWR   V
 *
 * riscv_sv57 pte: table in the last level
 *
 *     63..4  3..1  0
 *     -      XWR   V
 *
 * riscv_sv57 pte, pmd, pud, p4d, pgd: empty entry
 *
 *     63..0
 *     0
 *
 * riscv_sv57 pte, pmd: PROT_NONE page
 *
 *     63  62..61  60..54  53..10  9    8    7  6  5     4  3  2  1  0
 *     -   PBMT    -       PPN     SW9  SW8  D  A  NONE  U  X  W  R  V
 *
 * riscv_sv57 pmd: 2 MiB page being split
 *
 *     63  62..61  60..54  53..10  9    8    7  6  5     4  3  2  1  0
 *     -   PBMT    -       PPN     SW9  SW8  D  A  NONE  U  X  W  R  V
 *
 * riscv_sv57 pte, pmd: swap entry
 *
 *     63..12  11..7  6     5  4  3..1  0
 *     offset  type   EXCL  G  -  XWR   V
 *
 * riscv_sv57 pte, pmd: swap entry (linux 6.1)
 *
 *     63..11  10..6  5  4  3..1  0
 *     offset  type   G  -  XWR   V
 *
 * riscv_sv57 pte, pmd, pud, p4d, pgd: not valid
 *
 *     63..1  0
 *     -      V
 *
 * riscv_sv57 satp
 *
 *     63..60  59..44  43..0
 *     MODE    ASID    PPN
 *
 * riscv_sv39x4 hgatp
 *
 *     63..60  59..58  57..44  43..0
 *     MODE    0       VMID    PPN
 */
