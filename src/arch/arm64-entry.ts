import { linux, manual } from '../base/citation.ts';
import { absent } from './arm64-absent.ts';
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
 * arm64 stage 1 (VMSAv8-64 descriptors), granules of 4, 16 and 64 KiB. Where the kernel uses bits that are
 * free for software, the names of 6.12 stand.
 *
 * A page that software may write but that is clean has DBM = 1 and AP[2] = 1 (read-only): hardware that
 * manages dirty state clears AP[2] at the first write instead of faulting.
 */

export const ARM = 'Arm ARM DDI 0487, chapter D8';
export const DESCRIPTORS = manual(ARM, 'VMSAv8-64 translation table descriptor formats');
const PROT = linux('v6.12', 'arch/arm64/include/asm/pgtable-prot.h');

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
export function output({ wide }: Shape, from: number, block: boolean): Field[] {
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
  return [...fields, zero(from - 1, 17), nT, ...between];
}

/** Dirty as hardware says (DBM and no AP[2]) or as software remembers. */
function dirty(entry: bigint): { readonly dirty: boolean } {
  const byHardware = ((entry >> 51n) & 1n) === 1n && ((entry >> 7n) & 1n) === 0n;
  return { dirty: byHardware || ((entry >> 55n) & 1n) === 1n };
}

/** Every format of a shape with `count` levels. */
export function formats(shape: Shape, count: number): EntryFormat[] {
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
    name: 'reserved encoding',
    kind: 'absent',
    refused: () => 'this level has no blocks',
    levels,
    fields: [ignored(63, 2), bit('T', 1, 'no block is allowed here', { is: 0 }), VALID],
    cite: DESCRIPTORS,
  });
}

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * arm64 pte: 4 KiB page
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..12  11  10
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      nG  AF
 *     9..8  7    6    5   4..2  1  0
 *     SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64 pmd: 2 MiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..21  20..17
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      0
 *     16  15..12  11  10  9..8  7    6    5   4..2  1  0
 *     nT  0       nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64 pud: 1 GiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..30  29..17
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      0
 *     16  15..12  11  10  9..8  7    6    5   4..2  1  0
 *     nT  0       nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64 pmd, pud, pgd: table
 *
 *     63       62        61        60        59        58..51  50..48  47..12  11  10  9..2  1  0
 *     NSTable  APTable1  APTable0  UXNTable  PXNTable  -       0       OA      -   AF  -     T  V
 *
 * arm64 TTBR
 *
 *     63..48  47..1  0
 *     ASID    BADDR  CnP
 *
 * arm64_16k pte: 16 KiB page
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..14  13..12
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      0
 *     11  10  9..8  7    6    5   4..2  1  0
 *     nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64_16k pmd: 32 MiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..25  24..17
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      0
 *     16  15..12  11  10  9..8  7    6    5   4..2  1  0
 *     nT  0       nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64_16k pmd, pud, pgd: table
 *
 *     63       62        61        60        59        58..51  50..48  47..14  13..12  11  10  9..2  1  0
 *     NSTable  APTable1  APTable0  UXNTable  PXNTable  -       0       OA      0       -   AF  -     T  V
 *
 * arm64_64k pte: 64 KiB page
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..16  15..12
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      0
 *     11  10  9..8  7    6    5   4..2  1  0
 *     nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64_64k pmd: 512 MiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..29  28..17
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      0
 *     16  15..12  11  10  9..8  7    6    5   4..2  1  0
 *     nT  0       nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64_64k pmd, pgd: table
 *
 *     63       62        61        60        59        58..51  50..48  47..16  15..12  11  10  9..2  1  0
 *     NSTable  APTable1  APTable0  UXNTable  PXNTable  -       0       OA      0       -   AF  -     T  V
 *
 * arm64_lpa2 pte: 4 KiB page
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..12  11  10  9..8
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  OA      nG  AF  OA
 *     7    6    5   4..2  1  0
 *     AP2  AP1  NS  Attr  T  V
 *
 * arm64_lpa2 pmd: 2 MiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..21  20..17  16
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  OA      0       nT
 *     15..12  11  10  9..8  7    6    5   4..2  1  0
 *     0       nG  AF  OA    AP2  AP1  NS  Attr  T  V
 *
 * arm64_lpa2 pud: 1 GiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..30  29..17  16
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  OA      0       nT
 *     15..12  11  10  9..8  7    6    5   4..2  1  0
 *     0       nG  AF  OA    AP2  AP1  NS  Attr  T  V
 *
 * arm64_lpa2 p4d: 512 GiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..39  38..17  16
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  OA      0       nT
 *     15..12  11  10  9..8  7    6    5   4..2  1  0
 *     0       nG  AF  OA    AP2  AP1  NS  Attr  T  V
 *
 * arm64_lpa2 pmd, pud, p4d, pgd: table
 *
 *     63       62        61        60        59        58..51  50  49..12  11  10  9..8  7..2  1  0
 *     NSTable  APTable1  APTable0  UXNTable  PXNTable  -       0   OA      -   AF  OA    -     T  V
 *
 * arm64_64k_lpa pte: 64 KiB page
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..16  15..12
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      OA
 *     11  10  9..8  7    6    5   4..2  1  0
 *     nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64_64k_lpa pmd: 512 MiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..29  28..17
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      0
 *     16  15..12  11  10  9..8  7    6    5   4..2  1  0
 *     nT  OA      nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64_64k_lpa pgd: 4 TiB block
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..42  41..17
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      0
 *     16  15..12  11  10  9..8  7    6    5   4..2  1  0
 *     nT  OA      nG  AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64_64k_lpa pmd, pgd: table
 *
 *     63       62        61        60        59        58..51  50..48  47..16  15..12  11  10  9..2  1  0
 *     NSTable  APTable1  APTable0  UXNTable  PXNTable  -       0       OA      OA      -   AF  -     T  V
 */
