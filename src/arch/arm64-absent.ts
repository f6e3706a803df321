import { linux, manual } from '../base/citation.ts';
import {
  bit,
  bits,
  changed,
  format,
  ignored,
  type EntryFormat,
  type Field,
} from './entry-format.ts';

const SWAP = 'arch/arm64/include/asm/pgtable.h';
const INVALID: Field = bit('V', 0, 'not valid', { is: 0 });

/**
 * What Linux keeps in arm64 entries that are not valid: `page` is the format that a valid one has. The last
 * format is whatever else is not valid.
 */
export function absent(page: readonly Field[], upper: readonly number[]): EntryFormat[] {
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
      cite: manual(
        'Arm ARM DDI 0487, chapter D8',
        'VMSAv8-64 translation table descriptor formats',
      ),
    }),
  ];
}

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * arm64 pte, pgd: reserved encoding
 *
 *     63..2  1  0
 *     -      T  V
 *
 * arm64 pte, pmd, pud, pgd: empty entry
 *
 *     63..0
 *     0
 *
 * arm64 pte, pmd: PROT_NONE page
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..12  11
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      INVAL
 *     10  9..8  7    6    5   4..2  1  0
 *     AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64 pmd: block being split
 *
 *     63  62..60   59    58       57      56       55     54   53   52    51   50  49..48  47..12  11
 *     -   POIndex  PBHA  UFFD_WP  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      INVAL
 *     10  9..8  7    6    5   4..2  1  0
 *     AF  SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64 pte, pmd: swap entry
 *
 *     63..62  61..12  11     10..6  5..4  3        2     1  0
 *     -       offset  INVAL  type   -     UFFD_WP  EXCL  T  V
 *
 * arm64 pte, pmd: PROT_NONE page (linux 6.1)
 *
 *     63  62..60   59    58    57      56       55     54   53   52    51   50  49..48  47..12  11  10
 *     -   POIndex  PBHA  NONE  DEVMAP  SPECIAL  DIRTY  UXN  PXN  Cont  DBM  GP  0       OA      nG  AF
 *     9..8  7    6    5   4..2  1  0
 *     SH    AP2  AP1  NS  Attr  T  V
 *
 * arm64 pte, pmd: swap entry (linux 6.1)
 *
 *     63..59  58    57..8   7..3  2     1  0
 *     -       NONE  offset  type  EXCL  T  V
 *
 * arm64 pte, pmd, pud, pgd: not valid
 *
 *     63..1  0
 *     -      V
 */
