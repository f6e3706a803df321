import { linux, manual } from '../base/citation.ts';
import { bit, bits, changed, format, ignored, zero } from './entry-format.ts';
import { ONE_WORD, levelNames, tableKind, type Level, type TableKind } from './table-kind.ts';
import { PAGE, PROTNONE, SWAP_FIELDS, TABLE, hidden, large } from './x86-entry.ts';
import { X86_RULES } from './x86-rules.ts';

/**
 * x86-64, 4-level and 5-level paging. Where the kernel uses ignored bits, its names stand: those of 6.12,
 * and of other versions where they differ.
 *
 * Non-present values are stored with the page frame number (or swap offset) inverted, so that what a
 * speculating CPU takes for an address is no memory (L1TF).
 */

const SDM = 'Intel SDM vol. 3A, chapter Paging';
const FORMATS = manual(SDM, '4-Level Paging and 5-Level Paging, tables "Format of a ... Entry"');
const PROT = linux('v6.12', 'arch/x86/include/asm/pgtable_types.h');
const INVERT = linux('v6.12', 'arch/x86/include/asm/pgtable-invert.h');
const SWAP = linux('v6.12', 'arch/x86/include/asm/pgtable_64.h', '__swp_entry');

const ROOT = changed(
  TABLE,
  zero(7),
  ignored(62, 59),
  bit('SW5', 58, 'Linux 6.12: no copy for page-table isolation', { role: 'software', cite: PROT }),
  ignored(57, 52),
);

function formats(top: number): TableKind['formats'] {
  const middle = Array.from({ length: top - 1 }, (_, at) => at + 1);
  const [huge, rest] = [middle.slice(0, 2), middle.slice(2)];
  const upper = [...middle, top];
  return [
    format({ name: '4 KiB page', kind: 'leaf', levels: [0], fields: PAGE, cite: FORMATS }),
    format({
      name: '2 MiB page',
      kind: 'leaf',
      levels: [1],
      fields: large(PAGE, 21),
      cite: FORMATS,
    }),
    format({
      name: '1 GiB page',
      kind: 'leaf',
      levels: [2],
      fields: large(PAGE, 30),
      cite: FORMATS,
    }),
    format({ name: 'table', kind: 'table', levels: huge, fields: TABLE, cite: FORMATS }),
    format({
      name: 'table',
      kind: 'table',
      levels: rest,
      fields: changed(TABLE, zero(7)),
      cite: FORMATS,
    }),
    format({ name: 'root table', kind: 'table', levels: [top], fields: ROOT, cite: FORMATS }),
    format({
      name: 'empty entry',
      kind: 'none',
      levels: [0, ...upper],
      fields: [
        bits('0', 63, 7, 'all zero', { is: 0 }),
        ignored(6, 5), // some CPUs set A or D in a non-present entry
        bits('0', 4, 0, 'all zero', { is: 0 }),
      ],
      cite: linux('v6.12', 'arch/x86/include/asm/pgtable.h', 'pte_none, pmd_none'),
    }),
    format({
      name: 'PROT_NONE page',
      kind: 'absent',
      levels: [0],
      fields: hidden(PAGE, 12, PROTNONE),
      cite: INVERT,
    }),
    format({
      name: 'PROT_NONE 2 MiB page',
      kind: 'absent',
      levels: [1],
      fields: hidden(large(PAGE, 21), 21, PROTNONE),
      cite: INVERT,
    }),
    format({
      name: '2 MiB page being split',
      kind: 'absent',
      levels: [1],
      fields: hidden(large(PAGE, 21), 21, bit('PROTNONE', 8, 'not a PROT_NONE page', { is: 0 })),
      cite: linux('v6.12', 'arch/x86/include/asm/pgtable.h', 'pmd_present, pmd_mkinvalid'),
    }),
    format({ name: 'swap entry', kind: 'absent', levels: [0, 1], fields: SWAP_FIELDS, cite: SWAP }),
    format({
      name: 'not present',
      kind: 'absent',
      levels: [0, ...upper],
      fields: [ignored(63, 1), bit('P', 0, 'not present', { is: 0 })],
      cite: FORMATS,
    }),
  ].filter(({ levels }) => levels.length > 0);
}

const CR3_FLAGS = [
  bit('NOFLUSH', 63, 'in the source of MOV to CR3: keep what is cached for this PCID'),
  bit('LAM_U48', 62, 'linear-address masking of user pointers, 48 bits'),
  bit('LAM_U57', 61, 'linear-address masking of user pointers, 57 bits'),
  zero(60, 52),
  bits('PFN', 51, 12, 'physical address of the root table', { address: 12 }),
  bits('PCID', 11, 0, 'process-context identifier, if CR4.PCIDE'),
];

const TITLES = [
  'page table',
  'page directory',
  'page-directory-pointer table',
  'PML4 table',
  'PML5 table',
];

const level = (name: string, at: number): Level => ({
  name,
  title: TITLES[at] ?? '',
  shift: 12 + 9 * at,
  bits: 9,
  bytes: 4096,
  align: 4096,
  cite: manual(SDM, '4-Level Paging and 5-Level Paging, figures on linear-address translation'),
});

function kind(name: string, title: string, top: number): TableKind {
  return tableKind({
    name,
    title,
    stage: 1,
    byteOrder: 'little',
    pageShift: 12,
    levels: levelNames(top + 1).map((linuxName, at) => level(linuxName, at)),
    addressBits: 12 + 9 * (top + 1),
    upperBits: 'sign',
    formats: formats(top),
    roots: [
      format({
        name: 'CR3',
        kind: 'table',
        levels: [],
        fields: CR3_FLAGS,
        cite: manual(SDM, 'Use of CR3 with 4-Level Paging and 5-Level Paging'),
      }),
    ],
    access: ONE_WORD,
    hardware: { accessed: 'always', dirty: 'always', tables: true },
    rules: X86_RULES,
    // _PAGE_TABLE and a user page, without software bits.
    links: { RW: 1n, US: 1n, A: 1n, D: 1n },
    maps: (_at, { writable, executable }) => ({
      US: 1n,
      A: 1n,
      RW: writable ? 1n : 0n,
      NX: executable === false ? 1n : 0n,
    }),
  });
}

export const x86_64_tables: TableKind = kind('x86_64', 'x86-64', 3);
export const x86_64_la57_tables: TableKind = kind('x86_64_la57', 'x86-64, 5 levels', 4);

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * x86_64 pte: 4 KiB page
 *
 *     63  62..59  58   57   56..52  51..12  11   10   9    8  7    6  5  4    3    2   1   0
 *     NX  PKEY    SW5  SW4  -       PFN     SW3  SW2  SW1  G  PAT  D  A  PCD  PWT  US  RW  P
 *
 * x86_64 pmd: 2 MiB page
 *
 *     63  62..59  58   57   56..52  51..21  20..13  12   11   10   9    8  7   6  5  4    3    2   1   0
 *     NX  PKEY    SW5  SW4  -       PFN     0       PAT  SW3  SW2  SW1  G  PS  D  A  PCD  PWT  US  RW  P
 *
 * x86_64 pud: 1 GiB page
 *
 *     63  62..59  58   57   56..52  51..30  29..13  12   11   10   9    8  7   6  5  4    3    2   1   0
 *     NX  PKEY    SW5  SW4  -       PFN     0       PAT  SW3  SW2  SW1  G  PS  D  A  PCD  PWT  US  RW  P
 *
 * x86_64 pmd, pud: table
 *
 *     63  62..52  51..12  11..8  7   6  5  4    3    2   1   0
 *     NX  -       PFN     -      PS  D  A  PCD  PWT  US  RW  P
 *
 * x86_64 pgd: root table
 *
 *     63  62..59  58   57..52  51..12  11..8  7  6  5  4    3    2   1   0
 *     NX  -       SW5  -       PFN     -      0  D  A  PCD  PWT  US  RW  P
 *
 * x86_64 pte, pmd, pud, pgd: empty entry
 *
 *     63..7  6..5  4..0
 *     0      -     0
 *
 * x86_64 pte: PROT_NONE page
 *
 *     63  62..59  58   57   56..52  51..12  11   10   9    8         7    6  5  4    3    2   1   0
 *     NX  PKEY    SW5  SW4  -       PFN     SW3  SW2  SW1  PROTNONE  PAT  D  A  PCD  PWT  US  RW  P
 *
 * x86_64 pmd: PROT_NONE 2 MiB page
 *
 *     63  62..59  58   57   56..52  51..21  20..13  12   11   10   9    8         7   6  5  4    3    2
 *     NX  PKEY    SW5  SW4  -       PFN     -       PAT  SW3  SW2  SW1  PROTNONE  PS  D  A  PCD  PWT  US
 *     1   0
 *     RW  P
 *
 * x86_64 pmd: 2 MiB page being split
 *
 *     63  62..59  58   57   56..52  51..21  20..13  12   11   10   9    8         7   6  5  4    3    2
 *     NX  PKEY    SW5  SW4  -       PFN     -       PAT  SW3  SW2  SW1  PROTNONE  PS  D  A  PCD  PWT  US
 *     1   0
 *     RW  P
 *
 * x86_64 pte, pmd: swap entry
 *
 *     63..59  58..9   8         7   6..4  3     2     1   0
 *     type    offset  PROTNONE  PS  -     EXCL  UFFD  SD  P
 *
 * x86_64 pte, pmd, pud, pgd: not present
 *
 *     63..1  0
 *     -      P
 *
 * x86_64 CR3
 *
 *     63       62       61       60..52  51..12  11..0
 *     NOFLUSH  LAM_U48  LAM_U57  0       PFN     PCID
 *
 * x86_64_la57 p4d: table
 *
 *     63  62..52  51..12  11..8  7  6  5  4    3    2   1   0
 *     NX  -       PFN     -      0  D  A  PCD  PWT  US  RW  P
 */
