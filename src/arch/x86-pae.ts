import { fact, linux, manual } from '../base/citation.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
import { bit, bits, changed, format, ignored, zero } from './entry-format.ts';
import { impossible } from './kconfig.ts';
import { machineOf, tableKind, type TableKind } from './table-kind.ts';
import { PAGE, PROTNONE, SWAP_FIELDS, TABLE, hidden, large } from './x86-entry.ts';
import { X86_RULES, x86_config } from './x86-rules.ts';

/**
 * x86-32 with PAE: three levels, entries of 64 bits that a 32-bit kernel reads and writes as two halves.
 * The four entries of the root are loaded into registers with CR3 and not looked at again.
 */

const SDM = 'Intel SDM vol. 3A, chapter Paging';
const FORMATS = manual(SDM, 'PAE Paging, tables "Format of a PAE ... Entry"');
const LEVEL3 = 'arch/x86/include/asm/pgtable-3level.h';
const INVERT = linux('v6.12', 'arch/x86/include/asm/pgtable-invert.h');

/** No protection keys, no software bits in the high half. */
const PTE = changed(PAGE, zero(62, 52));
const HUGE = large(PTE, 21);

/** No permissions and no accessed bit. */
const PDPTE = [
  zero(63, 52),
  bits('PFN', 51, 12, 'physical address of the page directory', { address: 12 }),
  bits('AVL', 11, 9, 'free for software', { role: 'software' }),
  zero(8, 5),
  bit('PCD', 4, 'memory type index, bit 1'),
  bit('PWT', 3, 'memory type index, bit 0'),
  zero(2, 1),
  bit('P', 0, 'present', { is: 1 }),
];

const NONE = [
  bits('0', 63, 7, 'all zero', { is: 0 }),
  ignored(6, 5), // some CPUs set A or D in a non-present entry
  bits('0', 4, 0, 'all zero', { is: 0 }),
];
/** The high half may be out of step: the kernel looks at the low one. */
const LOW_NONE = [
  ignored(63, 32),
  bits('0', 31, 7, 'all zero', { is: 0 }),
  ignored(6, 5),
  bits('0', 4, 0, 'all zero', { is: 0 }),
];
const SPLIT = bit('PROTNONE', 8, 'not a PROT_NONE page', { is: 0 });

const formats: TableKind['formats'] = [
  format({ name: '4 KiB page', kind: 'leaf', levels: [0], fields: PTE, cite: FORMATS }),
  format({ name: '2 MiB page', kind: 'leaf', levels: [1], fields: HUGE, cite: FORMATS }),
  format({
    name: 'table',
    kind: 'table',
    levels: [1],
    fields: changed(TABLE, zero(62, 52)),
    cite: FORMATS,
  }),
  format({ name: 'root table', kind: 'table', levels: [2], fields: PDPTE, cite: FORMATS }),
  format({
    name: 'empty entry',
    kind: 'none',
    levels: [0],
    fields: NONE,
    cite: linux('v6.12', 'arch/x86/include/asm/pgtable.h', 'pte_none'),
  }),
  format({
    name: 'empty entry',
    kind: 'none',
    levels: [1, 2],
    fields: LOW_NONE,
    cite: linux('v6.12', 'arch/x86/include/asm/pgtable.h', 'pmd_none'),
  }),
  format({
    name: 'PROT_NONE page',
    kind: 'absent',
    levels: [0],
    fields: hidden(changed(PTE, ignored(62, 52)), 12, PROTNONE),
    cite: INVERT,
  }),
  format({
    name: 'PROT_NONE 2 MiB page',
    kind: 'absent',
    levels: [1],
    fields: hidden(changed(HUGE, ignored(62, 52)), 21, PROTNONE),
    cite: INVERT,
  }),
  format({
    name: '2 MiB page being split',
    kind: 'absent',
    levels: [1],
    fields: hidden(changed(HUGE, ignored(62, 52)), 21, SPLIT),
    cite: linux('v6.12', 'arch/x86/include/asm/pgtable.h', 'pmd_present, pmd_mkinvalid'),
  }),
  format({
    name: 'swap entry',
    kind: 'absent',
    levels: [0],
    fields: changed(
      SWAP_FIELDS,
      bit('EXCL', 7, 'the page belongs to one process (6.1: no such mark)'),
      ignored(6, 1),
    ),
    cite: linux('v6.12', LEVEL3, '__swp_pteval_entry'),
  }),
  format({
    name: 'not present',
    kind: 'absent',
    levels: [0, 1, 2],
    fields: [ignored(63, 1), bit('P', 0, 'not present', { is: 0 })],
    cite: FORMATS,
  }),
];

const level = (
  name: string,
  title: string,
  at: number,
  width: number,
): TableKind['levels'][number] => ({
  name,
  title,
  shift: 12 + 9 * at,
  bits: width,
  bytes: 8 * 2 ** width,
  align: 8 * 2 ** width,
  cite: manual(SDM, 'PAE Paging, figures on linear-address translation'),
});

export const x86_pae_tables: TableKind = tableKind({
  name: 'x86_pae',
  title: 'x86-32 with PAE',
  stage: 1,
  byteOrder: 'little',
  pageShift: 12,
  levels: [
    level('pte', 'page table', 0, 9),
    level('pmd', 'page directory', 1, 9),
    level('pgd', 'page-directory-pointer table', 2, 2),
  ],
  addressBits: 32,
  upperBits: 'zero',
  formats,
  roots: [
    format({
      name: 'CR3',
      kind: 'table',
      levels: [],
      fields: [
        ignored(63, 32),
        bits('PDPT', 31, 5, 'physical address of the four root entries', { address: 5 }),
        ignored(4, 0),
      ],
      cite: manual(SDM, 'PAE Paging, table "Use of CR3 with PAE Paging"'),
    }),
  ],
  access: { load: ['low', 'high', 'low'], set: ['high', 'low'], clear: ['low', 'high'] },
  hardware: { accessed: 'always', dirty: 'always', tables: true },
  rules: {
    ...X86_RULES,
    access: [
      fact(
        'A lockless load reads low, high, low again, and starts over if the low half has changed.',
        linux('v6.12', 'include/linux/pgtable.h', 'ptep_get_lockless'),
      ),
      fact(
        'An entry is set high half first, then a write barrier, then the low half with P.',
        linux('v6.12', LEVEL3, 'native_set_pte'),
      ),
      fact(
        'It is cleared low half first, then a write barrier, then the high half.',
        linux('v6.12', LEVEL3, 'native_pte_clear, native_pmd_clear'),
      ),
      fact(
        'Replacing a present entry, and clearing one that is wanted, is a 64-bit compare-and-exchange.',
        linux('v6.12', LEVEL3, 'native_set_pte_atomic, native_ptep_get_and_clear'),
      ),
      fact(
        'pmdp_establish() of a value that is not present exchanges the low half, then writes the high one.',
        linux('v6.12', LEVEL3, 'pmdp_establish'),
      ),
    ],
    hardware: [
      ...X86_RULES.hardware,
      fact('The entries of the root have neither A nor D.', FORMATS),
    ],
    walkers: [
      ...X86_RULES.walkers,
      fact(
        'pmdp_get_lockless_sync() waits, by an interrupt to all CPUs, for loads of two halves in progress.',
        linux('v6.12', 'mm/khugepaged.c', 'retract_page_tables'),
      ),
    ],
    tables: [
      fact(
        'The root has 4 entries (32 bytes); they are read on MOV to CR3 only: a change needs a CR3 load.',
        manual(SDM, 'PDPTE Registers'),
      ),
      fact(
        'The other tables fill a page of 4 KiB: 512 entries of 8 bytes.',
        manual(SDM, 'PAE Paging'),
      ),
    ],
  },
  links: (at) => (at === 2 ? {} : { RW: 1n, US: 1n, A: 1n, D: 1n }),
  maps: (_at, { writable, executable }) => ({
    US: 1n,
    A: 1n,
    RW: writable ? 1n : 0n,
    NX: executable === false ? 1n : 0n,
  }),
});

export const x86_pae_descriptor: ArchDescriptor = machineOf(x86_pae_tables, {
  flush: 'ipi',
  config: x86_config,
  impossible,
});

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * x86_pae pte: 4 KiB page
 *
 *     63  62..52  51..12  11   10   9    8  7    6  5  4    3    2   1   0
 *     NX  0       PFN     SW3  SW2  SW1  G  PAT  D  A  PCD  PWT  US  RW  P
 *
 * x86_pae pmd: 2 MiB page
 *
 *     63  62..52  51..21  20..13  12   11   10   9    8  7   6  5  4    3    2   1   0
 *     NX  0       PFN     0       PAT  SW3  SW2  SW1  G  PS  D  A  PCD  PWT  US  RW  P
 *
 * x86_pae pmd: table
 *
 *     63  62..52  51..12  11..8  7   6  5  4    3    2   1   0
 *     NX  0       PFN     -      PS  D  A  PCD  PWT  US  RW  P
 *
 * x86_pae pgd: root table
 *
 *     63..52  51..12  11..9  8..5  4    3    2..1  0
 *     0       PFN     AVL    0     PCD  PWT  0     P
 *
 * x86_pae pte: empty entry
 *
 *     63..7  6..5  4..0
 *     0      -     0
 *
 * x86_pae pmd, pgd: empty entry
 *
 *     63..32  31..7  6..5  4..0
 *     -       0      -     0
 *
 * x86_pae pte: PROT_NONE page
 *
 *     63  62..52  51..12  11   10   9    8         7    6  5  4    3    2   1   0
 *     NX  -       PFN     SW3  SW2  SW1  PROTNONE  PAT  D  A  PCD  PWT  US  RW  P
 *
 * x86_pae pmd: PROT_NONE 2 MiB page
 *
 *     63  62..52  51..21  20..13  12   11   10   9    8         7   6  5  4    3    2   1   0
 *     NX  -       PFN     -       PAT  SW3  SW2  SW1  PROTNONE  PS  D  A  PCD  PWT  US  RW  P
 *
 * x86_pae pmd: 2 MiB page being split
 *
 *     63  62..52  51..21  20..13  12   11   10   9    8         7   6  5  4    3    2   1   0
 *     NX  -       PFN     -       PAT  SW3  SW2  SW1  PROTNONE  PS  D  A  PCD  PWT  US  RW  P
 *
 * x86_pae pte: swap entry
 *
 *     63..59  58..9   8         7     6..1  0
 *     type    offset  PROTNONE  EXCL  -     P
 *
 * x86_pae pte, pmd, pgd: not present
 *
 *     63..1  0
 *     -      P
 *
 * x86_pae CR3
 *
 *     63..32  31..5  4..0
 *     -       PDPT   -
 */
