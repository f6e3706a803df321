import { fact, linux, manual } from '../base/citation.ts';
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
import { kvmFormats } from './kvm-spte.ts';
import { ept_tables } from './ept.ts';
import { ONE_WORD, tableKind, type TableKind } from './table-kind.ts';
import { PAGE as X86_PAGE, TABLE as X86_TABLE, large } from './x86-entry.ts';
import { x86_64_tables } from './x86-64.ts';

/**
 * AMD nested paging, the second stage of KVM on SVM: the ordinary x86-64 entries, in the host's paging mode.
 * Every access of a guest counts as a user access here.
 */

const APM = manual('AMD APM vol. 2, 15.25', 'Nested Paging');

/** Nobody interprets the bits that Linux's own page tables use. */
const PLAIN: readonly Field[] = [
  ignored(62, 52),
  ignored(11, 9),
  bit('G', 8, 'no use in nested entries'),
];
const PAGE = changed(X86_PAGE, ...PLAIN);
const TABLE = changed(X86_TABLE, ignored(6));

const levels = [0, 1, 2, 3];
const leaf = (name: string, at: number, fields: readonly Field[]): EntryFormat =>
  format({ name, kind: 'leaf', levels: [at], fields, cite: APM });
const leaves = [
  leaf('4 KiB page', 0, PAGE),
  leaf('2 MiB page', 1, large(PAGE, 21)),
  leaf('1 GiB page', 2, large(PAGE, 30)),
];
const tables = [
  format({ name: 'table', kind: 'table', levels: [1, 2], fields: TABLE, cite: APM }),
  format({
    name: 'root table',
    kind: 'table',
    levels: [3],
    fields: changed(TABLE, zero(7)),
    cite: APM,
  }),
];

export const npt_tables: TableKind = tableKind({
  name: 'npt',
  title: 'AMD nested paging',
  stage: 2,
  byteOrder: 'little',
  pageShift: 12,
  levels: x86_64_tables.levels,
  addressBits: 48,
  upperBits: 'zero',
  formats: [
    ...leaves,
    ...tables,
    format({
      name: 'empty entry',
      kind: 'none',
      levels,
      fields: [
        bit('NX', 63, 'KVM from 6.12 on sets it (EPT: suppress #VE)'),
        bits('0', 62, 0, 'all zero', { is: 0 }),
      ],
      cite: linux('v6.12', 'arch/x86/kvm/mmu/spte.h', 'SHADOW_NONPRESENT_VALUE'),
    }),
    format({
      name: 'not present',
      kind: 'absent',
      levels,
      fields: [ignored(63, 1), bit('P', 0, 'not present', { is: 0 })],
      cite: APM,
    }),
    ...kvmFormats({ ept: false, leaves, tables, levels }),
  ],
  roots: [
    format({
      name: 'nCR3',
      kind: 'table',
      levels: [],
      fields: [
        zero(63, 52),
        bits('PFN', 51, 12, 'physical address of the root table', { address: 12 }),
        ignored(11, 5),
        bit('PCD', 4, 'memory type of the root, bit 1'),
        bit('PWT', 3, 'memory type of the root, bit 0'),
        ignored(2, 0),
      ],
      cite: APM,
    }),
  ],
  access: ONE_WORD,
  hardware: { accessed: 'always', dirty: 'always', tables: true },
  rules: {
    ...ept_tables.rules,
    hardware: [
      fact("A and D are always kept by hardware, as in the host's own tables.", APM),
      fact('Every guest access is a user access: US must be set at all levels.', APM),
    ],
    tables: [fact('Every table fills a page of 4 KiB: 512 entries of 8 bytes.', APM)],
  },
  links: { RW: 1n, US: 1n, A: 1n },
  maps: (_at, { writable }) => ({ RW: writable ? 1n : 0n, US: 1n, A: 1n }),
  nones: { NX: 1n },
});

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * npt pte: 4 KiB page
 *
 *     63  62..52  51..12  11..9  8  7    6  5  4    3    2   1   0
 *     NX  -       PFN     -      G  PAT  D  A  PCD  PWT  US  RW  P
 *
 * npt pmd: 2 MiB page
 *
 *     63  62..52  51..21  20..13  12   11..9  8  7   6  5  4    3    2   1   0
 *     NX  -       PFN     0       PAT  -      G  PS  D  A  PCD  PWT  US  RW  P
 *
 * npt pud: 1 GiB page
 *
 *     63  62..52  51..30  29..13  12   11..9  8  7   6  5  4    3    2   1   0
 *     NX  -       PFN     0       PAT  -      G  PS  D  A  PCD  PWT  US  RW  P
 *
 * npt pmd, pud: table
 *
 *     63  62..52  51..12  11..8  7   6  5  4    3    2   1   0
 *     NX  -       PFN     -      PS  -  A  PCD  PWT  US  RW  P
 *
 * npt pgd: root table
 *
 *     63  62..52  51..12  11..8  7  6  5  4    3    2   1   0
 *     NX  -       PFN     -      0  -  A  PCD  PWT  US  RW  P
 *
 * npt pte, pmd, pud, pgd: empty entry
 *
 *     63  62..0
 *     NX  0
 *
 * npt pte, pmd, pud, pgd: not present
 *
 *     63..1  0
 *     -      P
 *
 * npt nCR3
 *
 *     63..52  51..12  11..5  4    3    2..0
 *     0       PFN     -      PCD  PWT  -
 */
