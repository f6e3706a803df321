import { fact, linux, manual } from '../base/citation.ts';
import { ARM64_RULES } from './arm64-rules.ts';
import { levels } from './arm64.ts';
import {
  BLOCK_TYPE,
  DESCRIPTORS,
  INVALID,
  VALID,
  blockLevels,
  output,
  reserved,
  shiftOf,
  sizeText,
  type Shape,
} from './arm64-entry.ts';
import type { Decoded } from './decode.ts';
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
import { ONE_WORD, tableKind, type TableKind } from './table-kind.ts';

/**
 * arm64 stage 2, as KVM uses it. Permissions are granted here (stage 1 takes them away), and tables carry no
 * attributes.
 *
 * In 6.12 an entry that is being changed is locked by bit 10 of an invalid entry, which is the access flag
 * of a valid one: clearing the access flag without checking that the entry is valid releases the lock.
 */

const PGTABLE = 'arch/arm64/include/asm/kvm_pgtable.h';
const PROTECT = 'arch/arm64/kvm/hyp/include/nvhe/mem_protect.h';

const TYPES = {
  1: 'Device-nGnRE',
  5: 'Normal, non-cacheable',
  6: 'Normal, write-back, forced (FWB)',
  7: 'as stage 1 says (FWB)',
  15: 'Normal, write-back',
};
const PKVM = { 0: '', 1: 'shared, owned', 2: 'shared, borrowed' };
const XN = { 0: '', 1: 'EL0 only', 2: 'nobody', 3: 'EL1 only' };

const PAGE: readonly Field[] = [
  ignored(63, 59),
  bits('SW', 58, 57, 'free for software', { role: 'software' }),
  bits('PKVM', 56, 55, 'protected KVM: state of the page', {
    role: 'software',
    values: PKVM,
    cite: linux('v6.12', PROTECT, 'enum pkvm_page_state'),
  }),
  bits('XN', 54, 53, 'who may execute (FEAT_XNX; without it, bit 54 is no execute)', {
    values: XN,
  }),
  bit('Cont', 52, 'one of an aligned run of equal entries'),
  bit('DBM', 51, 'dirty-bit modifier; KVM does not set it'),
  zero(50),
  zero(11),
  bit('AF', 10, 'access flag', { who: 'SW/HW', role: 'accessed' }),
  bits('SH', 9, 8, 'shareability', { values: { 0: '', 2: 'outer', 3: 'inner' } }),
  bit('W', 7, 'S2AP[1]: write; set by a write if DBM', { who: 'SW/HW', role: 'write' }),
  bit('R', 6, 'S2AP[0]: read', { role: 'read' }),
  bits('Attr', 5, 2, 'MemAttr: memory type', { values: TYPES }),
  bit('T', 1, 'page', { is: 1 }),
  VALID,
];

const TABLE: readonly Field[] = [
  ignored(63, 50),
  ignored(11, 2),
  bit('T', 1, 'table', { is: 1 }),
  VALID,
];

function derived(entry: bigint): { readonly executable: boolean; readonly dirty: boolean } {
  const written = ((entry >> 7n) & 1n) === 1n && ((entry >> 51n) & 1n) === 1n;
  return { executable: ((entry >> 53n) & 3n) !== 2n, dirty: written };
}

/** What KVM keeps in entries that are not valid. */
function kept(every: readonly number[]): EntryFormat[] {
  const entry = (
    name: string,
    only: string,
    cite: EntryFormat['cite'],
    ...fields: Field[]
  ): EntryFormat => format({ name, kind: 'absent', levels: every, only, cite, fields });
  const nothing = (high: number, low: number): Field => bits('0', high, low, 'zero', { is: 0 });
  const type = (is: number, meaning: string): Field => bits('type', 63, 60, meaning, { is });
  const [v61, v612, v72] = ['KVM 6.1, 6.12', 'KVM 6.12', 'KVM 7.2'];
  const owner = bits('owner', 9, 2, 'who owns the page', {
    values: { 1: 'hypervisor', 2: 'FF-A (6.12)' },
  });
  return [
    entry(
      'locked entry',
      v612,
      linux('v6.12', PGTABLE, 'KVM_INVALID_PTE_LOCKED'),
      nothing(63, 11),
      bit('LOCKED', 10, 'another CPU is changing the entry', { is: 1 }),
      nothing(9, 0),
    ),
    format({
      ...entry(
        'owner of the page',
        v61,
        linux('v6.1', 'arch/arm64/kvm/hyp/pgtable.c', 'KVM_INVALID_PTE_OWNER_MASK'),
        nothing(63, 10),
        owner,
        nothing(1, 0),
      ),
      matches: (value) => value !== 0n,
    }),
    entry(
      'locked entry',
      v72,
      linux('v7.2', PGTABLE, 'KVM_INVALID_PTE_TYPE_LOCKED'),
      type(1, 'another CPU is changing the entry'),
      ignored(59, 1),
      INVALID,
    ),
    entry(
      'donated page',
      v72,
      linux('v7.2', 'arch/arm64/kvm/hyp/nvhe/mem_protect.c'),
      type(2, 'the page was given away'),
      bits('data', 59, 4, 'what the owner keeps with it'),
      bits('owner', 3, 1, 'to whom', { values: { 0: 'host', 1: 'hypervisor', 2: 'guest' } }),
      INVALID,
    ),
    entry(
      'poisoned page',
      v72,
      linux('v7.2', 'arch/arm64/kvm/hyp/nvhe/mem_protect.c', 'KVM_GUEST_INVALID_PTE_TYPE_POISONED'),
      type(3, 'the guest lost the page'),
      ignored(59, 1),
      INVALID,
    ),
  ];
}

function formats(shape: Shape, count: number): EntryFormat[] {
  const every = Array.from({ length: count }, (_, at) => at);
  const blocks = blockLevels(shape, count);
  const leaf = (at: number, name: string, fields: readonly Field[]): EntryFormat =>
    format({ name, kind: 'leaf', levels: [at], fields, cite: DESCRIPTORS, derived });
  return [
    leaf(0, `${sizeText(shape.page)} page`, changed(PAGE, ...output(shape, shape.page, false))),
    ...blocks.map((at) => {
      const fields = changed(PAGE, BLOCK_TYPE, ...output(shape, shiftOf(shape, at), true));
      return leaf(at, `${sizeText(shiftOf(shape, at))} block`, fields);
    }),
    format({
      name: 'table',
      kind: 'table',
      levels: every.slice(1),
      fields: changed(TABLE, ...output(shape, shape.page, false)),
      cite: DESCRIPTORS,
    }),
    reserved(every.filter((at) => !blocks.includes(at))),
    format({
      name: 'empty entry',
      kind: 'none',
      levels: every,
      fields: [bits('0', 63, 0, 'all zero', { is: 0 })],
      cite: linux('v6.12', 'arch/arm64/kvm/hyp/pgtable.c', 'kvm_clear_pte'),
    }),
    format({
      name: 'not valid',
      kind: 'absent',
      levels: every,
      fields: [ignored(63, 1), INVALID],
      cite: DESCRIPTORS,
    }),
    ...kept(every),
  ];
}

const VTTBR: EntryFormat = format({
  name: 'VTTBR_EL2',
  kind: 'table',
  levels: [],
  fields: [
    bits('VMID', 63, 48, 'identifier of the guest (8 or 16 bits by VTCR_EL2.VS)'),
    bits('BADDR', 47, 1, 'physical address of the top-level table', { address: 1 }),
    bit('CnP', 0, 'common, not private: shared by the processors of the domain'),
  ],
  cite: manual('Arm ARM DDI 0487', 'VTTBR_EL2'),
});

/** Hardware that manages both: AF is set, and the first write to a page with DBM sets S2AP[1]. */
function touch(entry: Decoded, value: bigint, write: boolean): bigint | null {
  if (!entry.present) return null;
  if (entry.table) return value;
  const accessed = value | (1n << 10n);
  if (!write || entry.writable) return accessed;
  return ((value >> 51n) & 1n) === 1n ? accessed | (1n << 7n) : null;
}

function kind(name: string, shape: Shape): TableKind {
  // Up to 16 top-level tables side by side stand for a level of 4 bits or less.
  const count = Math.max(2, Math.floor((shape.input - 8) / (shape.page - 3)));
  return tableKind({
    name,
    title: `arm64 stage 2, ${sizeText(shape.page)} pages, ${shape.input}-bit addresses`,
    stage: 2,
    byteOrder: 'little',
    pageShift: shape.page,
    levels: levels(shape, count),
    addressBits: shape.input,
    upperBits: 'zero',
    formats: formats(shape, count),
    roots: [VTTBR],
    access: ONE_WORD,
    hardware: { accessed: 'optional', dirty: 'optional', tables: false },
    touch,
    rules: {
      waits: [],
      access: [
        fact(
          'An entry is one aligned 64-bit word; shared walkers change it by compare-and-exchange.',
          linux('v6.12', 'arch/arm64/kvm/hyp/pgtable.c', 'stage2_try_set_pte'),
        ),
        fact(
          'From 6.2 on a valid entry is broken by locking it (an invalid value), flushing, then making it anew.',
          linux('v6.12', 'arch/arm64/kvm/hyp/pgtable.c', 'stage2_try_break_pte'),
        ),
      ],
      hardware: [
        fact(
          'With VTCR_EL2.HA hardware sets AF; KVM enables it unless an erratum forbids.',
          linux('v6.12', 'arch/arm64/include/asm/kvm_arm.h', 'VTCR_EL2_HA'),
        ),
        fact(
          'With HD a write to a page with DBM = 1 sets S2AP[1]; KVM never enables it.',
          manual('Arm ARM DDI 0487, chapter D8', 'Hardware management of dirty state'),
        ),
      ],
      flush: ARM64_RULES.flush,
      walkers: [
        fact(
          'Walkers that share the lock walk under RCU; removed tables are freed by call_rcu().',
          linux('v6.12', 'arch/arm64/kvm/mmu.c', 'stage2_free_unlinked_table_rcu_cb'),
        ),
      ],
      tables: [
        fact(
          'The top level may be up to 16 tables side by side, for 4 more bits of address.',
          linux('v6.12', 'arch/arm64/include/asm/stage2_pgtable.h', 'stage2_pgtable_levels'),
        ),
      ],
    },
    links: {},
    maps: (_at, { writable }) => ({ R: 1n, W: writable ? 1n : 0n, AF: 1n, SH: 3n, Attr: 15n }),
  });
}

/** KVM's default of 40 bits, and 48. */
export const arm64_s2_tables: TableKind = kind('arm64_s2', { page: 12, input: 40, wide: 'no' });
export const arm64_s2_48_tables: TableKind = kind('arm64_s2_48', {
  page: 12,
  input: 48,
  wide: 'no',
});
export const arm64_s2_16k_tables: TableKind = kind('arm64_s2_16k', {
  page: 14,
  input: 40,
  wide: 'no',
});
export const arm64_s2_64k_tables: TableKind = kind('arm64_s2_64k', {
  page: 16,
  input: 40,
  wide: 'no',
});

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * arm64_s2_48 pte: 4 KiB page
 *
 *     63..59  58..57  56..55  54..53  52    51   50..48  47..12  11  10  9..8  7  6  5..2  1  0
 *     -       SW      PKVM    XN      Cont  DBM  0       OA      0   AF  SH    W  R  Attr  T  V
 *
 * arm64_s2_48 pmd: 2 MiB block
 *
 *     63..59  58..57  56..55  54..53  52    51   50..48  47..21  20..17  16  15..11  10  9..8  7  6  5..2
 *     -       SW      PKVM    XN      Cont  DBM  0       OA      0       nT  0       AF  SH    W  R  Attr
 *     1  0
 *     T  V
 *
 * arm64_s2_48 pud: 1 GiB block
 *
 *     63..59  58..57  56..55  54..53  52    51   50..48  47..30  29..17  16  15..11  10  9..8  7  6  5..2
 *     -       SW      PKVM    XN      Cont  DBM  0       OA      0       nT  0       AF  SH    W  R  Attr
 *     1  0
 *     T  V
 *
 * arm64_s2_48 pmd, pud, pgd: table
 *
 *     63..50  49..48  47..12  11..2  1  0
 *     -       0       OA      -      T  V
 *
 * arm64_s2_48 pte, pgd: reserved encoding
 *
 *     63..2  1  0
 *     -      T  V
 *
 * arm64_s2_48 pte, pmd, pud, pgd: empty entry
 *
 *     63..0
 *     0
 *
 * arm64_s2_48 pte, pmd, pud, pgd: not valid
 *
 *     63..1  0
 *     -      V
 *
 * arm64_s2_48 pte, pmd, pud, pgd: locked entry (KVM 6.12)
 *
 *     63..11  10      9..0
 *     0       LOCKED  0
 *
 * arm64_s2_48 pte, pmd, pud, pgd: owner of the page (KVM 6.1, 6.12)
 *
 *     63..10  9..2   1..0
 *     0       owner  0
 *
 * arm64_s2_48 pte, pmd, pud, pgd: locked entry (KVM 7.2)
 *
 *     63..60  59..1  0
 *     type    -      V
 *
 * arm64_s2_48 pte, pmd, pud, pgd: donated page (KVM 7.2)
 *
 *     63..60  59..4  3..1   0
 *     type    data   owner  V
 *
 * arm64_s2_48 pte, pmd, pud, pgd: poisoned page (KVM 7.2)
 *
 *     63..60  59..1  0
 *     type    -      V
 *
 * arm64_s2_48 VTTBR_EL2
 *
 *     63..48  47..1  0
 *     VMID    BADDR  CnP
 */
