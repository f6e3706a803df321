import { linux, manual } from '../base/citation.ts';
import { bit, bits, format, ignored, type EntryFormat } from './entry-format.ts';

/** The control element that points to the top table, and what KVM keeps beside each page-table entry. */

const POP = 'z/Architecture Principles of Operation, chapter 3, Dynamic Address Translation';
const TYPES = { 0: 'segment', 1: 'region-third', 2: 'region-second', 3: 'region-first' };

export const S390_ROOTS: readonly EntryFormat[] = [
  format({
    name: 'ASCE',
    kind: 'table',
    levels: [],
    fields: [
      bits('TO', 63, 12, 'physical address of the top table', { address: 12 }),
      ignored(11, 10),
      bit('G', 9, 'subspace group'),
      bit('P', 8, 'private space'),
      bit('S', 7, 'storage-alteration event'),
      bit('X', 6, 'space-switch event'),
      bit('R', 5, 'real space: no translation'),
      ignored(4),
      bits('DT', 3, 2, 'type of the top table', { values: TYPES }),
      bits('TL', 1, 0, 'length of the top table'),
    ],
    cite: manual(POP, 'Address-Space-Control Element'),
    derived: (asce) => ({ window: [0, (Number(asce & 3n) + 1) * 512] }),
  }),
  format({
    name: 'PGSTE',
    kind: 'absent',
    levels: [],
    fields: [
      bits('ACC', 63, 60, 'storage key of the guest: access control'),
      bit('FP', 59, 'storage key of the guest: fetch protection'),
      ignored(58, 56),
      bit('PCL', 55, 'lock of this entry'),
      bit('HR', 54, 'host referenced'),
      bit('HC', 53, 'host changed'),
      ignored(52, 51),
      bit('GR', 50, 'guest referenced'),
      bit('GC', 49, 'guest changed'),
      ignored(48),
      bit('UD', 47, 'user dirty, for migration'),
      bit('IN', 46, 'notify of invalidation'),
      bit('VR', 45, 'referenced by a nested guest'),
      ignored(44, 32),
      bit('ZERO', 31, 'guest page state: logically zero'),
      bit('NODAT', 30, 'the guest does not use it for DAT tables'),
      ignored(29, 26),
      bits('usage', 25, 24, 'guest page state'),
      ignored(23, 0),
    ],
    cite: linux('v6.12', 'arch/s390/include/asm/pgtable.h', 'PGSTE_ACC_BITS and below'),
  }),
  format({
    name: 'PGSTE',
    kind: 'absent',
    levels: [],
    only: 'KVM 7.2',
    fields: [
      bits('ACC', 63, 60, 'storage key of the guest: access control'),
      bit('FP', 59, 'storage key of the guest: fetch protection'),
      ignored(58, 56),
      bit('PCL', 55, 'lock of this entry'),
      bit('HR', 54, 'host referenced'),
      bit('HC', 53, 'host changed'),
      ignored(52, 51),
      bit('GR', 50, 'guest referenced'),
      bit('GC', 49, 'guest changed'),
      ignored(48),
      bits('chunk', 47, 32, '16 bits of a value spread over several entries'),
      bit('ZERO', 31, 'guest page state: logically zero'),
      bit('NODAT', 30, 'the guest does not use it for DAT tables'),
      ignored(29, 26),
      bits('usage', 25, 24, 'guest page state'),
      ignored(23, 16),
      bit('CMMA_D', 15, 'page state changed, for migration'),
      bit('PREFIX', 14, 'notify: prefix page'),
      bit('VSIE', 13, 'notify: shadowed for a nested guest'),
      bit('VSIE_MEM', 12, 'memory of a nested guest'),
      ignored(11, 0),
    ],
    cite: linux('v7.2', 'arch/s390/kvm/dat.h'),
  }),
];

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * s390 ASCE
 *
 *     63..12  11..10  9  8  7  6  5  4  3..2  1..0
 *     TO      -       G  P  S  X  R  -  DT    TL
 *
 * s390 PGSTE
 *
 *     63..60  59  58..56  55   54  53  52..51  50  49  48  47  46  45  44..32  31    30     29..26  25..24
 *     ACC     FP  -       PCL  HR  HC  -       GR  GC  -   UD  IN  VR  -       ZERO  NODAT  -       usage
 *     23..0
 *     -
 *
 * s390 PGSTE (KVM 7.2)
 *
 *     63..60  59  58..56  55   54  53  52..51  50  49  48  47..32  31    30     29..26  25..24  23..16
 *     ACC     FP  -       PCL  HR  HC  -       GR  GC  -   chunk   ZERO  NODAT  -       usage   -
 *     15      14      13    12        11..0
 *     CMMA_D  PREFIX  VSIE  VSIE_MEM  -
 */
