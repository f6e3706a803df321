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
import { ONE_WORD, levelNames, tableKind, type TableKind } from './table-kind.ts';

/**
 * Intel EPT, the second stage of KVM on VMX. An entry is present if it allows anything: there is no present
 * bit. Accessed and dirty bits exist if EPTP says so.
 */

const SDM = 'Intel SDM vol. 3C, The Extended Page Table Mechanism (EPT)';
const FORMATS = manual(SDM, 'figure "Formats of EPTP and EPT Paging-Structure Entries"');
const CODES = { 0: 'UC', 1: 'WC', 4: 'WT', 5: 'WP', 6: 'WB' };

const ACCESS: readonly Field[] = [
  bit('A', 8, 'accessed, if EPTP enables it', { who: 'HW', role: 'accessed' }),
  bit('X', 2, 'execute (by the guest kernel, with mode-based control)', { role: 'execute' }),
  bit('W', 1, 'write', { role: 'write' }),
  bit('R', 0, 'read', { role: 'read' }),
];
const XU = bit('XU', 10, 'execute by the guest user, with mode-based control; else ignored');

const PAGE: readonly Field[] = [
  bit('SVE', 63, 'suppress #VE: a violation exits to the hypervisor'),
  ignored(62),
  bit('SPP', 61, 'sub-page write permissions, if enabled'),
  bit('SSS', 60, 'supervisor shadow stack, if enabled'),
  ignored(59),
  bit('PW', 58, 'paging-write access, if enabled'),
  bit('VPW', 57, 'verify guest paging, if enabled'),
  ignored(56, 52),
  bits('PFN', 51, 12, 'physical address of the page', { address: 12 }),
  ignored(11),
  XU,
  bit('D', 9, 'dirty, if EPTP enables it', { who: 'HW', role: 'dirty' }),
  ignored(7),
  bit('IPAT', 6, 'ignore the memory type that the guest asks for'),
  bits('MT', 5, 3, 'memory type', { values: CODES }),
  ...ACCESS,
];

function large(from: number): Field[] {
  return changed(
    PAGE,
    bits('PFN', 51, from, 'physical address of the page', { address: from }),
    zero(from - 1, 12),
    bit('leaf', 7, 'this entry is a leaf', { is: 1 }),
  );
}

const TABLE: readonly Field[] = [
  ignored(63, 52),
  bits('PFN', 51, 12, 'physical address of the next table', { address: 12 }),
  ignored(11),
  XU,
  ignored(9),
  bit('leaf', 7, 'this entry points to a table', { is: 0 }),
  zero(6, 3),
  ...ACCESS,
];

const allows = (entry: bigint): boolean => (entry & 7n) !== 0n;

function misconfigured(entry: bigint): string | null {
  const [r, w] = [entry & 1n, (entry >> 1n) & 1n];
  return w === 1n && r === 0n ? 'misconfiguration: write without read' : null;
}

function badLeaf(entry: bigint): string | null {
  const type = Number((entry >> 3n) & 7n);
  const known = type in CODES;
  return misconfigured(entry) ?? (known ? null : `misconfiguration: memory type ${type}`);
}

function formats(top: number): EntryFormat[] {
  const levels = Array.from({ length: top + 1 }, (_, at) => at);
  const leaf = (name: string, at: number, fields: readonly Field[]): EntryFormat =>
    format({
      name,
      kind: 'leaf',
      levels: [at],
      fields,
      cite: FORMATS,
      matches: allows,
      refused: badLeaf,
    });
  const leaves = [
    leaf('4 KiB page', 0, PAGE),
    leaf('2 MiB page', 1, large(21)),
    leaf('1 GiB page', 2, large(30)),
  ];
  const link = { kind: 'table', cite: FORMATS, matches: allows, refused: misconfigured } as const;
  const tables = [
    format({ ...link, name: 'table', levels: [1, 2], fields: TABLE }),
    format({ ...link, name: 'table', levels: levels.slice(3), fields: changed(TABLE, zero(7)) }),
  ];
  const nothing = bits('0', 2, 0, 'no access allowed', { is: 0 });
  return [
    ...leaves,
    ...tables,
    format({
      name: 'empty entry',
      kind: 'none',
      levels,
      fields: [
        bit('SVE', 63, 'suppress #VE (KVM from 6.12 on)'),
        bits('0', 62, 0, 'all zero', { is: 0 }),
      ],
      cite: linux('v6.12', 'arch/x86/kvm/mmu/spte.h', 'SHADOW_NONPRESENT_VALUE'),
    }),
    format({
      name: 'not present',
      kind: 'absent',
      levels,
      fields: [bit('SVE', 63, 'suppress #VE'), ignored(62, 3), nothing],
      cite: FORMATS,
    }),
    ...kvmFormats({ ept: true, leaves, tables, levels }),
  ];
}

const EPTP = format({
  name: 'EPTP',
  kind: 'table',
  levels: [],
  fields: [
    zero(63, 52),
    bits('PFN', 51, 12, 'physical address of the root table', { address: 12 }),
    zero(11, 8),
    bit('SSS', 7, 'supervisor shadow-stack control'),
    bit('AD', 6, 'accessed and dirty bits are on'),
    bits('PWL', 5, 3, 'length of the walk, less one', { values: { 3: '4 levels', 4: '5 levels' } }),
    bits('MT', 2, 0, 'memory type of the tables', { values: { 0: 'UC', 6: 'WB' } }),
  ],
  cite: FORMATS,
});

const TITLES = [
  'EPT page table',
  'EPT page directory',
  'EPT page-directory-pointer table',
  'EPT PML4 table',
  'EPT PML5 table',
];

function kind(name: string, title: string, top: number): TableKind {
  return tableKind({
    name,
    title,
    stage: 2,
    byteOrder: 'little',
    pageShift: 12,
    levels: levelNames(top + 1).map((linuxName, at) => ({
      name: linuxName,
      title: TITLES[at] ?? '',
      shift: 12 + 9 * at,
      bits: 9,
      bytes: 4096,
      align: 4096,
      cite: manual(SDM, 'EPT Translation Mechanism'),
    })),
    addressBits: 12 + 9 * (top + 1),
    upperBits: 'zero',
    formats: formats(top),
    roots: [EPTP],
    access: ONE_WORD,
    hardware: { accessed: 'optional', dirty: 'optional', tables: true },
    rules: {
      waits: [],
      access: [
        fact(
          'An entry is one aligned 64-bit word; the TDP MMU changes live entries by compare-and-exchange.',
          linux('v6.12', 'arch/x86/kvm/mmu/tdp_mmu.c', 'tdp_mmu_set_spte_atomic'),
        ),
        fact(
          'Removing a table freezes its entries first, so that nobody puts anything into it meanwhile.',
          linux('v6.12', 'arch/x86/kvm/mmu/tdp_mmu.c', 'handle_removed_pt'),
        ),
      ],
      hardware: [
        fact(
          'Only if EPTP bit 6 is set: A in every entry of a walk, D in the leaf on a write.',
          manual(SDM, 'Accessed and Dirty Flags for EPT'),
        ),
        fact(
          'A guest page-table access counts as a write: tables of the guest become dirty and need W.',
          manual(SDM, 'Accessed and Dirty Flags for EPT'),
        ),
        fact(
          'Write without read, unknown memory types and reserved bits are misconfigurations, not violations.',
          manual(SDM, 'EPT Misconfigurations'),
        ),
      ],
      flush: [
        fact(
          'KVM asks every vCPU to flush (INVEPT before the next entry) and waits until none is in the guest.',
          linux('v6.12', 'virt/kvm/kvm_main.c', 'kvm_make_all_cpus_request'),
        ),
      ],
      walkers: [
        fact(
          'The TDP MMU walks under RCU; removed tables are freed by call_rcu() after the flush.',
          linux('v6.12', 'arch/x86/kvm/mmu/tdp_mmu.c', 'tdp_mmu_free_sp_rcu_callback'),
        ),
        fact(
          'The shadow MMU walks with interrupts off; who frees a table sends an interrupt and waits.',
          linux('v6.12', 'arch/x86/kvm/mmu/mmu.c', 'walk_shadow_page_lockless_begin'),
        ),
      ],
      tables: [fact('Every table fills a page of 4 KiB: 512 entries of 8 bytes.', FORMATS)],
    },
    links: { R: 1n, W: 1n, X: 1n, A: 1n },
    maps: (_at, { writable }) => ({ R: 1n, W: writable ? 1n : 0n, X: 1n, A: 1n, MT: 6n, IPAT: 1n }),
    nones: { SVE: 1n },
  });
}

export const ept_tables: TableKind = kind('ept', 'Intel EPT', 3);
export const ept5_tables: TableKind = kind('ept5', 'Intel EPT, 5 levels', 4);

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * ept pte: 4 KiB page
 *
 *     63   62  61   60   59  58  57   56..52  51..12  11  10  9  8  7  6     5..3  2  1  0
 *     SVE  -   SPP  SSS  -   PW  VPW  -       PFN     -   XU  D  A  -  IPAT  MT    X  W  R
 *
 * ept pmd: 2 MiB page
 *
 *     63   62  61   60   59  58  57   56..52  51..21  20..12  11  10  9  8  7     6     5..3  2  1  0
 *     SVE  -   SPP  SSS  -   PW  VPW  -       PFN     0       -   XU  D  A  leaf  IPAT  MT    X  W  R
 *
 * ept pud: 1 GiB page
 *
 *     63   62  61   60   59  58  57   56..52  51..30  29..12  11  10  9  8  7     6     5..3  2  1  0
 *     SVE  -   SPP  SSS  -   PW  VPW  -       PFN     0       -   XU  D  A  leaf  IPAT  MT    X  W  R
 *
 * ept pmd, pud: table
 *
 *     63..52  51..12  11  10  9  8  7     6..3  2  1  0
 *     -       PFN     -   XU  -  A  leaf  0     X  W  R
 *
 * ept pgd: table
 *
 *     63..52  51..12  11  10  9  8  7..3  2  1  0
 *     -       PFN     -   XU  -  A  0     X  W  R
 *
 * ept pte, pmd, pud, pgd: empty entry
 *
 *     63   62..0
 *     SVE  0
 *
 * ept pte, pmd, pud, pgd: not present
 *
 *     63   62..3  2..0
 *     SVE  -      0
 *
 * ept EPTP
 *
 *     63..52  51..12  11..8  7    6   5..3  2..0
 *     0       PFN     0      SSS  AD  PWL   MT
 */
