import { linux } from '../base/citation.ts';
import { bit, bits, changed, ignored, zero, type Field } from './entry-format.ts';

/**
 * The fields that x86's formats share: long mode, PAE and nested paging differ in the high bits, in the
 * root, and in what the kernel keeps in entries that are not present.
 */

const PROT = linux('v6.12', 'arch/x86/include/asm/pgtable_types.h');

const software = { role: 'software', cite: PROT } as const;

const LOW_FLAGS: readonly Field[] = [
  bit('PCD', 4, 'memory type index, bit 1'),
  bit('PWT', 3, 'memory type index, bit 0'),
  bit('US', 2, 'user access allowed (ANDed over all levels)', { role: 'user' }),
  bit('RW', 1, 'writes allowed (ANDed over all levels)', { role: 'write' }),
  bit('P', 0, 'present', { is: 1 }),
];
const A: Field = bit('A', 5, 'accessed', { who: 'HW', role: 'accessed' });
const NX: Field = bit('NX', 63, 'no execute (ORed over all levels)', { role: 'no-execute' });

/** Bits 11..0 of a leaf, but for bit 7. */
const LEAF_FLAGS: readonly Field[] = [
  ...LOW_FLAGS,
  A,
  bit('SW3', 11, 'Linux: soft-dirty', software),
  bit('SW2', 10, 'Linux: userfaultfd write protection', software),
  bit('SW1', 9, 'Linux: special (no struct page) in PTEs', software),
  bit('G', 8, 'global, if CR4.PGE'),
  bit('D', 6, 'dirty', { who: 'HW', role: 'dirty' }),
];

export const PAGE: readonly Field[] = [
  NX,
  bits('PKEY', 62, 59, 'protection key, if CR4.PKE or CR4.PKS'),
  bit('SW5', 58, 'Linux 6.12: saved dirty (write-protected and dirty)', software),
  bit('SW4', 57, 'Linux 6.12: devmap (6.1: bit 58; 7.2: gone)', software),
  ignored(56, 52),
  bits('PFN', 51, 12, 'physical address of the page', { address: 12 }),
  ...LEAF_FLAGS,
  bit('PAT', 7, 'memory type index, bit 2'),
];

const PS: Field = bit('PS', 7, 'page size: this entry is a leaf', { is: 1 });
const PAT_LARGE: Field = bit('PAT', 12, 'memory type index, bit 2');

export function large(page: readonly Field[], from: number): Field[] {
  const address = bits('PFN', 51, from, 'physical address of the page', { address: from });
  return changed(page, address, zero(from - 1, 13), PAT_LARGE, PS);
}

/** Present bits of an entry that points to a table. */
const TABLE_FLAGS: readonly Field[] = [
  ...LOW_FLAGS,
  A,
  bits('PFN', 51, 12, 'physical address of the next table', { address: 12 }),
  ignored(11, 8),
  bit('D', 6, 'ignored by hardware; set in the tables that Linux makes', software),
];
export const TABLE: readonly Field[] = [
  ...TABLE_FLAGS,
  NX,
  ignored(62, 52),
  bit('PS', 7, 'page size: 0, this entry points to a table', { is: 0 }),
];
/** Numbers of the types that are no swap files, with every option on; other versions number differently. */
const SWAP_TYPES = {
  23: '6.12: hwpoison',
  24: '6.12: migration, read',
  25: '6.12: migration, read-exclusive',
  26: '6.12: migration, write',
  27: '6.12: device private, write',
  28: '6.12: device private, read',
  29: '6.12: device exclusive, write',
  30: '6.12: device exclusive, read',
};

export const SWAP_FIELDS: readonly Field[] = [
  bits('type', 63, 59, 'swap file, or what else is remembered', {
    values: SWAP_TYPES,
    cite: linux('v6.12', 'include/linux/swap.h', 'MAX_SWAPFILES'),
  }),
  bits('offset', 58, 9, 'offset or page frame number', { inverted: true }),
  bit('PROTNONE', 8, 'not a PROT_NONE page', { is: 0 }),
  bit('PS', 7, 'not a huge page', { is: 0 }),
  ignored(6, 4),
  bit('EXCL', 3, 'the page belongs to one process'),
  bit('UFFD', 2, 'userfaultfd write protection'),
  bit('SD', 1, 'soft-dirty'),
  bit('P', 0, 'not present', { is: 0 }),
];

/** A leaf that the kernel made non-present: P is clear, the address inverted, the rest as it was. */
export function hidden(page: readonly Field[], from: number, ...marks: readonly Field[]): Field[] {
  const address = bits('PFN', 51, from, 'physical address of the page, inverted', {
    address: from,
    inverted: true,
  });
  const below = from === 12 ? [] : [ignored(from - 1, 13)];
  return changed(page, address, ...below, bit('P', 0, 'not present', { is: 0 }), ...marks);
}

export const PROTNONE: Field = bit('PROTNONE', 8, 'a page that nobody may access now', { is: 1 });
