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
import { ONE_WORD, machineOf, tableKind, type TableKind } from './table-kind.ts';
import { POWERPC_ROOTS } from './powerpc-roots.ts';
import { POWERPC_RULES, powerpc_config } from './powerpc-rules.ts';

/**
 * PowerPC Book3S-64 radix, base pages of 4 and 64 KiB. Every table is big-endian in memory, whatever the
 * kernel is; bits are numbered from the low end here, the manual counts from the high end.
 *
 * A PDE says where the next table is and how many entries it has; there are no permissions above the leaf.
 */

const ISA = 'Power ISA 3.1, Book III, Radix Tree Translation';
const PGTABLE = 'arch/powerpc/include/asm/book3s/64/pgtable.h';
const ENTRY = manual(ISA, 'Radix Tree Page Table Entry');
const DIRECTORY = manual(ISA, 'Radix Tree Page Directory Entry');
const software = { role: 'software', cite: linux('v6.12', PGTABLE) } as const;

const ATTRIBUTES = { 0: '', 1: 'strong access order', 2: 'non-idempotent I/O', 3: 'tolerant I/O' };

const V = bit('V', 63, 'valid', { is: 1 });
const ABSENT = bit('V', 63, 'not valid', { is: 0 });
const LEAF = bit('L', 62, 'leaf', { is: 1 });
const SW0 = bit('SW0', 61, 'Linux: present though not valid (_PAGE_INVALID)', software);

const PAGE: readonly Field[] = [
  V,
  LEAF,
  SW0,
  zero(60, 57),
  bit('SW1', 11, 'Linux: devmap (7.2: unused)', software),
  bit('SW2', 10, 'Linux: special', software),
  bit('SW3', 9, 'Linux: soft-dirty', software),
  bit('R', 8, 'referenced', { who: 'SW/HW', role: 'accessed' }),
  bit('C', 7, 'changed', { who: 'SW/HW', role: 'dirty' }),
  zero(6),
  bits('ATT', 5, 4, 'memory type', { values: ATTRIBUTES }),
  bit('PRIV', 3, 'for the kernel only', { role: 'no-user' }),
  bit('READ', 2, 'read', { role: 'read' }),
  bit('WRITE', 1, 'read and write', { role: 'write' }),
  bit('EXEC', 0, 'execute', { role: 'execute' }),
];

/** The write bit alone allows reading, too. */
const derived = (entry: bigint): { readonly readable: boolean } => ({
  readable: (entry & 6n) !== 0n,
});

function address(from: number): Field[] {
  const rpn = bits('RPN', 56, from, 'physical address of the page', { address: from });
  return from === 12 ? [rpn] : [rpn, ignored(from - 1, 12)];
}

const PDE: readonly Field[] = [
  V,
  bit('L', 62, 'table', { is: 0 }),
  zero(61, 60),
  bits('NLB', 59, 8, 'physical address of the next table', { address: 8 }),
  zero(7, 5),
  bits('NLS', 4, 0, 'log2 of the entries of the next table'),
];

interface Shape {
  readonly pageShift: number;
  readonly page: string;
  /** Index bits, leaf tables first. */
  readonly index: readonly number[];
}

function formats({ pageShift, page }: Shape): EntryFormat[] {
  const every = [0, 1, 2, 3];
  const some = (entry: bigint): boolean => (entry & 7n) !== 0n;
  const nobody = bits('RWX', 2, 0, 'nobody may access it now', { is: 0 });
  const leaf = (at: number, name: string, from: number): EntryFormat[] => [
    format({
      name,
      kind: 'leaf',
      levels: [at],
      fields: changed(PAGE, ...address(from)),
      cite: ENTRY,
      matches: some,
      derived,
    }),
    format({
      name: `PROT_NONE ${name}`,
      kind: 'leaf',
      levels: [at],
      fields: changed(PAGE, ...address(from), nobody),
      cite: linux('v6.12', PGTABLE, 'pte_protnone'),
      derived: () => ({ readable: false, writable: false, executable: false }),
    }),
    format({
      name: `${name}, present for Linux though not valid`,
      kind: 'absent',
      levels: [at],
      fields: changed(PAGE, ...address(from), ABSENT, bit('SW0', 61, 'present', { is: 1 })),
      cite: linux('v6.12', PGTABLE, '_PAGE_INVALID'),
    }),
  ];
  return [
    ...leaf(0, page, pageShift),
    ...leaf(1, '2 MiB page', 21),
    ...leaf(2, '1 GiB page', 30),
    format({
      name: 'table',
      kind: 'table',
      levels: [1, 2, 3],
      fields: PDE,
      cite: DIRECTORY,
      derived: (entry) => ({ window: [0, 2 ** Number(entry & 31n)] }),
    }),
    format({
      name: 'leaf in the root',
      kind: 'absent',
      refused: () => 'this level has no leaves',
      levels: [3],
      fields: [V, LEAF, ignored(61, 0)],
      cite: linux('v6.12', 'arch/powerpc/kvm/book3s_64_mmu_radix.c', 'kvmppc_mmu_walk_radix_tree'),
    }),
    format({
      name: 'table in the last level',
      kind: 'absent',
      refused: () => 'there is no level below',
      levels: [0],
      fields: [V, bit('L', 62, 'not a leaf', { is: 0 }), ignored(61, 0)],
      cite: DIRECTORY,
    }),
    format({
      name: 'empty entry',
      kind: 'none',
      levels: [0],
      fields: [
        bits('0', 63, 9, 'all zero', { is: 0 }),
        ignored(8, 7), // a late write of R or C may still arrive
        bits('0', 6, 0, 'all zero', { is: 0 }),
      ],
      cite: linux('v6.12', PGTABLE, 'pte_none'),
    }),
    format({
      name: 'empty entry',
      kind: 'none',
      levels: [1, 2, 3],
      fields: [bits('0', 63, 0, 'all zero', { is: 0 })],
      cite: linux('v6.12', PGTABLE, 'pmd_none'),
    }),
    format({
      name: 'swap entry',
      kind: 'absent',
      levels: [0, 1],
      fields: [
        ABSENT,
        bit('L', 62, 'kept', { is: 1 }),
        bit('SW0', 61, 'not a present page', { is: 0 }),
        ignored(60, 53),
        bits('offset', 52, pageShift, 'offset in the swap file, or page frame number'),
        ...(pageShift === 12 ? [] : [ignored(pageShift - 1, 12)]),
        ignored(11, 10),
        bit('SD', 9, 'soft-dirty'),
        ignored(8, 6),
        bit('EXCL', 5, 'the page belongs to one process'),
        bits('type', 4, 0, 'swap file, or what else is remembered'),
      ],
      cite: linux('v6.12', PGTABLE, '__swp_entry'),
    }),
    format({
      name: 'not valid',
      kind: 'absent',
      levels: every,
      fields: [ABSENT, ignored(62, 0)],
      cite: ENTRY,
    }),
  ];
}

function kind(name: string, shape: Shape): TableKind {
  const { pageShift, index, page } = shape;
  let shift = pageShift;
  return tableKind({
    name,
    title: `powerpc radix, ${page.replace(' page', '')} pages`,
    stage: 1,
    byteOrder: 'big',
    pageShift,
    levels: ['pte', 'pmd', 'pud', 'pgd'].map((linuxName, at) => {
      const width = index[at] ?? 0;
      const from = shift;
      shift += width;
      const file = pageShift === 12 ? 'radix-4k.h' : 'radix-64k.h';
      return {
        name: linuxName,
        title: at === 0 ? 'page table' : at === 3 ? 'root page directory' : 'page directory',
        shift: from,
        bits: width,
        bytes: 8 * 2 ** width,
        align: 8 * 2 ** width,
        cite: linux('v6.12', `arch/powerpc/include/asm/book3s/64/${file}`),
      };
    }),
    addressBits: 52,
    upperBits: 'zero',
    formats: formats(shape),
    roots: POWERPC_ROOTS,
    access: ONE_WORD,
    hardware: { accessed: 'optional', dirty: 'optional', tables: false },
    rules: POWERPC_RULES,
    links: (at) => ({ NLS: BigInt(index[at - 1] ?? 0) }),
    maps: (_at, { writable }) => ({ R: 1n, READ: 1n, WRITE: writable ? 1n : 0n }),
  });
}

export const powerpc_radix_tables: TableKind = kind('powerpc_radix', {
  pageShift: 12,
  page: '4 KiB page',
  index: [9, 9, 9, 13],
});
export const powerpc_radix_64k_tables: TableKind = kind('powerpc_radix_64k', {
  pageShift: 16,
  page: '64 KiB page',
  index: [5, 9, 9, 13],
});

const machine = {
  flush: 'tlbie',
  weaklyOrdered: true,
  config: powerpc_config,
  impossible,
} as const;

export const powerpc_radix_descriptors: Readonly<Record<'4k' | '64k', ArchDescriptor>> = {
  '4k': machineOf(powerpc_radix_tables, { ...machine, title: 'powerpc radix' }),
  '64k': machineOf(powerpc_radix_64k_tables, {
    ...machine,
    title: 'powerpc radix with 64 KiB pages',
  }),
};

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * powerpc_radix pte: 4 KiB page
 *
 *     63  62  61   60..57  56..12  11   10   9    8  7  6  5..4  3     2     1      0
 *     V   L   SW0  0       RPN     SW1  SW2  SW3  R  C  0  ATT   PRIV  READ  WRITE  EXEC
 *
 * powerpc_radix pte: PROT_NONE 4 KiB page
 *
 *     63  62  61   60..57  56..12  11   10   9    8  7  6  5..4  3     2..0
 *     V   L   SW0  0       RPN     SW1  SW2  SW3  R  C  0  ATT   PRIV  RWX
 *
 * powerpc_radix pte: 4 KiB page, present for Linux though not valid
 *
 *     63  62  61   60..57  56..12  11   10   9    8  7  6  5..4  3     2     1      0
 *     V   L   SW0  0       RPN     SW1  SW2  SW3  R  C  0  ATT   PRIV  READ  WRITE  EXEC
 *
 * powerpc_radix pmd: 2 MiB page
 *
 *     63  62  61   60..57  56..21  20..12  11   10   9    8  7  6  5..4  3     2     1      0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  READ  WRITE  EXEC
 *
 * powerpc_radix pmd: PROT_NONE 2 MiB page
 *
 *     63  62  61   60..57  56..21  20..12  11   10   9    8  7  6  5..4  3     2..0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  RWX
 *
 * powerpc_radix pmd: 2 MiB page, present for Linux though not valid
 *
 *     63  62  61   60..57  56..21  20..12  11   10   9    8  7  6  5..4  3     2     1      0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  READ  WRITE  EXEC
 *
 * powerpc_radix pud: 1 GiB page
 *
 *     63  62  61   60..57  56..30  29..12  11   10   9    8  7  6  5..4  3     2     1      0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  READ  WRITE  EXEC
 *
 * powerpc_radix pud: PROT_NONE 1 GiB page
 *
 *     63  62  61   60..57  56..30  29..12  11   10   9    8  7  6  5..4  3     2..0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  RWX
 *
 * powerpc_radix pud: 1 GiB page, present for Linux though not valid
 *
 *     63  62  61   60..57  56..30  29..12  11   10   9    8  7  6  5..4  3     2     1      0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  READ  WRITE  EXEC
 *
 * powerpc_radix pmd, pud, pgd: table
 *
 *     63  62  61..60  59..8  7..5  4..0
 *     V   L   0       NLB    0     NLS
 *
 * powerpc_radix pgd: leaf in the root
 *
 *     63  62  61..0
 *     V   L   -
 *
 * powerpc_radix pte: table in the last level
 *
 *     63  62  61..0
 *     V   L   -
 *
 * powerpc_radix pte: empty entry
 *
 *     63..9  8..7  6..0
 *     0      -     0
 *
 * powerpc_radix pmd, pud, pgd: empty entry
 *
 *     63..0
 *     0
 *
 * powerpc_radix pte, pmd: swap entry
 *
 *     63  62  61   60..53  52..12  11..10  9   8..6  5     4..0
 *     V   L   SW0  -       offset  -       SD  -     EXCL  type
 *
 * powerpc_radix pte, pmd, pud, pgd: not valid
 *
 *     63  62..0
 *     V   -
 *
 * powerpc_radix_64k pte: 64 KiB page
 *
 *     63  62  61   60..57  56..16  15..12  11   10   9    8  7  6  5..4  3     2     1      0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  READ  WRITE  EXEC
 *
 * powerpc_radix_64k pte: PROT_NONE 64 KiB page
 *
 *     63  62  61   60..57  56..16  15..12  11   10   9    8  7  6  5..4  3     2..0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  RWX
 *
 * powerpc_radix_64k pte: 64 KiB page, present for Linux though not valid
 *
 *     63  62  61   60..57  56..16  15..12  11   10   9    8  7  6  5..4  3     2     1      0
 *     V   L   SW0  0       RPN     -       SW1  SW2  SW3  R  C  0  ATT   PRIV  READ  WRITE  EXEC
 *
 * powerpc_radix_64k pte, pmd: swap entry
 *
 *     63  62  61   60..53  52..16  15..10  9   8..6  5     4..0
 *     V   L   SW0  -       offset  -       SD  -     EXCL  type
 */
