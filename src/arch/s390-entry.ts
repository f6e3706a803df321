import { linux, manual } from '../base/citation.ts';
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

/**
 * s390 (z/Architecture DAT). Big-endian; bits are numbered from the low end here, the manual counts from the
 * high end. Valid is the absence of a bit: an entry of zero maps page 0, so empty tables are not zero.
 *
 * DAT entries have no accessed or dirty bit (both are in the storage key of the page): Linux keeps its own
 * and makes hardware fault, by I for old or unreadable pages and by P for clean or read-only ones.
 */

export const POP = 'z/Architecture Principles of Operation, chapter 3, Dynamic Address Translation';
const PGTABLE = 'arch/s390/include/asm/pgtable.h';
const PTE = manual(POP, 'Page-Table Entries');
const STE = manual(POP, 'Segment-Table Entries');
const RTE = manual(POP, 'Region-Table Entries');
const software = { role: 'software', cite: linux('v6.12', PGTABLE) } as const;

const PAGE: readonly Field[] = [
  bits('PFRA', 63, 12, 'physical address of the page', { address: 12 }),
  zero(11),
  bit('I', 10, 'invalid', { is: 0 }),
  bit('P', 9, 'protected: read-only', { role: 'no-write' }),
  bit('IEP', 8, 'no execute', { role: 'no-execute' }),
  bit('UNUSED', 7, 'Linux: the guest does not use the page', software),
  bit('SPECIAL', 6, 'Linux: no struct page', software),
  bit('W', 5, 'Linux: writable', software),
  bit('RD', 4, 'Linux: readable', software),
  bit('D', 3, 'Linux: dirty', { ...software, role: 'dirty' }),
  bit('Y', 2, 'Linux: young', { ...software, role: 'accessed' }),
  bit('SD', 1, 'Linux: soft-dirty', software),
  bit('PRES', 0, 'Linux: present', software),
];

const invalidPte = bit('I', 10, 'invalid', { is: 1 });

export const PTE_FORMATS: readonly EntryFormat[] = [
  format({ name: '4 KiB page', kind: 'leaf', levels: [0], fields: PAGE, cite: PTE }),
  format({
    name: 'empty entry',
    kind: 'none',
    levels: [0],
    fields: [bits('0', 63, 11, 'zero', { is: 0 }), invalidPte, bits('0', 9, 0, 'zero', { is: 0 })],
    cite: linux('v6.12', PGTABLE, 'pte_none'),
  }),
  format({
    name: 'page that is old, or that nobody may read',
    kind: 'absent',
    levels: [0],
    fields: changed(PAGE, ignored(11), invalidPte, bit('PRES', 0, 'Linux: present', { is: 1 })),
    cite: linux('v6.12', PGTABLE, 'pte_present, table of states'),
  }),
  format({
    name: 'swap entry',
    kind: 'absent',
    levels: [0],
    fields: [
      bits('offset', 63, 12, 'offset in the swap file, or page frame number'),
      bit('EXCL', 11, 'the page belongs to one process'),
      invalidPte,
      bit('P', 9, 'swap', { is: 1 }),
      ignored(8, 7),
      bits('type', 6, 2, 'swap file, or what else is remembered'),
      bit('SD', 1, 'soft-dirty'),
      bit('PRES', 0, 'not present', { is: 0 }),
    ],
    cite: linux('v6.12', PGTABLE, 'mk_swap_pte'),
  }),
  format({
    name: 'token of KVM for an absent page',
    kind: 'absent',
    levels: [0],
    only: 'KVM 7.2',
    fields: [
      bits('type', 63, 48, 'a program-interruption code', { is: 1 }),
      bits('code', 47, 32, 'the code'),
      ignored(31, 11),
      invalidPte,
      ignored(9, 0),
    ],
    cite: linux('v7.2', 'arch/s390/kvm/dat.h'),
  }),
  format({
    name: 'not valid',
    kind: 'absent',
    levels: [0],
    fields: [ignored(63, 11), invalidPte, ignored(9, 0)],
    cite: PTE,
  }),
];

interface Upper {
  readonly level: number;
  /** Table type: 0 segment to 3 region-first. */
  readonly type: number;
  readonly size: string;
  /** Lowest address bit of a leaf, where there are leaves. */
  readonly leaf?: number;
}

export const UPPER: readonly Upper[] = [
  { level: 1, type: 0, size: '1 MiB', leaf: 20 },
  { level: 2, type: 1, size: '2 GiB', leaf: 31 },
  { level: 3, type: 2, size: '4 TiB' },
  { level: 4, type: 3, size: '8 PiB' },
];

const VALID = bit('I', 5, 'invalid', { is: 0 });
const INVALID = bit('I', 5, 'invalid', { is: 1 });

/** Hardware's fields of a large page; bits 15..11 count only if AV is set, which Linux never does. */
function large({ type, leaf = 0 }: Upper): Field[] {
  const common = type === 0 ? 'CS' : 'CR';
  return [
    bits('PFRA', 63, leaf, 'physical address of the page', { address: leaf }),
    ignored(leaf - 1, 17),
    bit('AV', 16, 'access control and fetch protection are valid'),
    ignored(15),
    bit('SD', 14, 'Linux 6.12: soft-dirty', software),
    bit('D', 13, 'Linux: dirty', { ...software, role: 'dirty' }),
    bit('Y', 12, 'Linux: young', { ...software, role: 'accessed' }),
    ignored(11),
    bit('FC', 10, 'this entry is a leaf', { is: 1 }),
    bit('P', 9, 'protected: read-only', { role: 'no-write' }),
    bit('IEP', 8, 'no execute', { role: 'no-execute' }),
    ignored(7, 6),
    VALID,
    bit(common, 4, 'common: shared by address spaces'),
    bits('TT', 3, 2, 'table type', { is: type }),
    bit('W', 1, 'Linux 6.12: writable (6.1: bit 0)', software),
    bit('RD', 0, 'Linux 6.12: readable (6.1: bit 1)', software),
  ];
}

function table({ type }: Upper): Field[] {
  const address = (low: number): Field =>
    bits('TO', 63, low, 'physical address of the next table', { address: low });
  const common = type === 0 ? 'CS' : 'CR';
  const shared = type > 1 ? ignored(4) : bit(common, 4, 'common: shared by address spaces');
  const fields = [
    bit('P', 9, 'protected: read-only below', { role: 'no-write' }),
    ignored(8),
    VALID,
    shared,
    bits('TT', 3, 2, 'table type', { is: type }),
  ];
  const leafy = bit('FC', 10, 'this entry points to a table', { is: 0 });
  if (type === 0) return [...fields, address(11), leafy, ignored(7, 6), ignored(1, 0)];
  return [
    ...fields,
    address(12),
    ignored(11),
    type === 1 ? leafy : ignored(10),
    bits('TF', 7, 6, 'first 512 entries of the next table that exist'),
    bits('TL', 1, 0, 'last 512 entries of the next table that exist'),
  ];
}

/** Hardware compares the top index bits with offset and length before it looks into the table. */
function window(entry: bigint): { readonly window: readonly [number, number] } {
  return { window: [Number((entry >> 6n) & 3n) * 512, Number((entry & 3n) + 1n) * 512] };
}

export function upperFormats(upper: Upper): EntryFormat[] {
  const { level, type, size, leaf } = upper;
  const at = { levels: [level] };
  const cite = type === 0 ? STE : RTE;
  const fields = leaf === undefined ? [] : large(upper);
  const pages =
    leaf === undefined
      ? []
      : [
          format({ ...at, name: `${size} page`, kind: 'leaf', fields, cite }),
          format({
            ...at,
            name: `${size} page that is old, or that nobody may read`,
            kind: 'absent',
            fields: changed(fields, INVALID),
            cite: linux('v6.12', PGTABLE, 'table of segment states'),
          }),
          format({
            ...at,
            name: `${size} page`,
            kind: 'leaf',
            only: 'linux 7.2',
            fields: changed(
              fields,
              bit('W', 15, 'Linux 7.2: writable', software),
              bit('RD', 14, 'Linux 7.2: readable', software),
              bit('SD', 1, 'Linux 7.2: soft-dirty', software),
              bit('PRES', 0, 'Linux 7.2: present', software),
            ),
            cite: linux('v7.2', PGTABLE),
          }),
          format({
            ...at,
            name: 'swap entry',
            kind: 'absent',
            only: 'linux 7.2',
            fields: [
              bits('offset', 63, 12, 'offset in the swap file, or page frame number'),
              ignored(11),
              bits('type', 10, 6, 'swap file, or what else is remembered'),
              INVALID,
              bit('C', 4, 'swap', { is: 1 }),
              bits('TT', 3, 2, 'table type', { is: type }),
              ignored(1, 0),
            ],
            cite: linux('v7.2', PGTABLE),
          }),
        ];
  return [
    ...pages,
    format({
      ...at,
      name: 'table',
      kind: 'table',
      fields: table(upper),
      cite,
      ...(type === 0 ? {} : { derived: window }),
    }),
    format({
      ...at,
      name: 'empty entry',
      kind: 'none',
      fields: [
        bits('0', 63, 6, 'zero', { is: 0 }),
        INVALID,
        bit('0', 4, 'zero', { is: 0 }),
        bits('TT', 3, 2, 'table type', { is: type }),
        bits('0', 1, 0, 'zero', { is: 0 }),
      ],
      cite: linux('v6.12', PGTABLE, '_SEGMENT_ENTRY_EMPTY, _REGION_ENTRY_EMPTY'),
    }),
    format({
      ...at,
      name: 'not valid',
      kind: 'absent',
      fields: [ignored(63, 6), INVALID, ignored(4, 0)],
      cite,
    }),
    format({
      ...at,
      name: 'table of another type',
      kind: 'absent',
      refused: () => 'translation-specification exception',
      fields: [ignored(63, 6), VALID, ignored(4, 0)],
      cite,
    }),
  ];
}

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * s390 pte: 4 KiB page
 *
 *     63..12  11  10  9  8    7       6        5  4   3  2  1   0
 *     PFRA    0   I   P  IEP  UNUSED  SPECIAL  W  RD  D  Y  SD  PRES
 *
 * s390 pte: empty entry
 *
 *     63..11  10  9..0
 *     0       I   0
 *
 * s390 pte: page that is old, or that nobody may read
 *
 *     63..12  11  10  9  8    7       6        5  4   3  2  1   0
 *     PFRA    -   I   P  IEP  UNUSED  SPECIAL  W  RD  D  Y  SD  PRES
 *
 * s390 pte: swap entry
 *
 *     63..12  11    10  9  8..7  6..2  1   0
 *     offset  EXCL  I   P  -     type  SD  PRES
 *
 * s390 pte: token of KVM for an absent page (KVM 7.2)
 *
 *     63..48  47..32  31..11  10  9..0
 *     type    code    -       I   -
 *
 * s390 pte: not valid
 *
 *     63..11  10  9..0
 *     -       I   -
 *
 * s390 pmd: 1 MiB page
 *
 *     63..20  19..17  16  15  14  13  12  11  10  9  8    7..6  5  4   3..2  1  0
 *     PFRA    -       AV  -   SD  D   Y   -   FC  P  IEP  -     I  CS  TT    W  RD
 *
 * s390 pmd: 1 MiB page that is old, or that nobody may read
 *
 *     63..20  19..17  16  15  14  13  12  11  10  9  8    7..6  5  4   3..2  1  0
 *     PFRA    -       AV  -   SD  D   Y   -   FC  P  IEP  -     I  CS  TT    W  RD
 *
 * s390 pmd: 1 MiB page (linux 7.2)
 *
 *     63..20  19..17  16  15  14  13  12  11  10  9  8    7..6  5  4   3..2  1   0
 *     PFRA    -       AV  W   RD  D   Y   -   FC  P  IEP  -     I  CS  TT    SD  PRES
 *
 * s390 pmd: swap entry (linux 7.2)
 *
 *     63..12  11  10..6  5  4  3..2  1..0
 *     offset  -   type   I  C  TT    -
 *
 * s390 pmd: table
 *
 *     63..11  10  9  8..6  5  4   3..2  1..0
 *     TO      FC  P  -     I  CS  TT    -
 *
 * s390 pmd: empty entry
 *
 *     63..6  5  4  3..2  1..0
 *     0      I  0  TT    0
 *
 * s390 pmd: not valid
 *
 *     63..6  5  4..0
 *     -      I  -
 *
 * s390 pmd: table of another type
 *
 *     63..6  5  4..0
 *     -      I  -
 *
 * s390 pud: 2 GiB page
 *
 *     63..31  30..17  16  15  14  13  12  11  10  9  8    7..6  5  4   3..2  1  0
 *     PFRA    -       AV  -   SD  D   Y   -   FC  P  IEP  -     I  CR  TT    W  RD
 *
 * s390 pud: 2 GiB page that is old, or that nobody may read
 *
 *     63..31  30..17  16  15  14  13  12  11  10  9  8    7..6  5  4   3..2  1  0
 *     PFRA    -       AV  -   SD  D   Y   -   FC  P  IEP  -     I  CR  TT    W  RD
 *
 * s390 pud: 2 GiB page (linux 7.2)
 *
 *     63..31  30..17  16  15  14  13  12  11  10  9  8    7..6  5  4   3..2  1   0
 *     PFRA    -       AV  W   RD  D   Y   -   FC  P  IEP  -     I  CR  TT    SD  PRES
 *
 * s390 pud: table
 *
 *     63..12  11  10  9  8  7..6  5  4   3..2  1..0
 *     TO      -   FC  P  -  TF    I  CR  TT    TL
 *
 * s390 p4d: table
 *
 *     63..12  11..10  9  8  7..6  5  4  3..2  1..0
 *     TO      -       P  -  TF    I  -  TT    TL
 */
