import { linux } from '../base/citation.ts';
import {
  bit,
  bits,
  changed,
  format,
  ignored,
  type EntryFormat,
  type Field,
} from './entry-format.ts';

/**
 * What KVM keeps in the entries of its x86 second stage, EPT and NPT, beyond what hardware sees. The bits
 * moved in 7.2, when bit 10 became the user-execute bit of EPT. An entry that KVM made has bit 11 set; the
 * special values (removed or frozen entries, MMIO) never have.
 *
 * All special values contain bits that are the accessed bit of an ordinary entry (5 or 8): clearing the
 * accessed bit without checking that the entry is an ordinary one turns a frozen entry into garbage.
 */

export const SPTE = 'arch/x86/kvm/mmu/spte.h';

interface Marks {
  readonly only: string;
  readonly version: string;
  readonly host: number;
  readonly mmu: number;
  readonly type: readonly [number, number];
  /** Where R and X (and XU) are kept while access is tracked, for want of A and D bits. */
  readonly saved: Readonly<Record<string, number>>;
}

const TYPES = { 0: '', 1: 'no A/D bits', 2: 'write-protect only' };
const OLD = { only: 'KVM 6.1, 6.12', version: 'v6.1, v6.12', type: [53, 52] } as const;
const NEW = { only: 'KVM 7.2', version: 'v7.2', type: [61, 60] } as const;

/** The second stage's hardware formats and what is different between the two. */
interface Stage {
  readonly ept: boolean;
  readonly leaves: readonly EntryFormat[];
  readonly tables: readonly EntryFormat[];
  readonly levels: readonly number[];
}

function versions({ ept }: Stage): Marks[] {
  return [
    {
      ...OLD,
      ...(ept ? { host: 57, mmu: 58 } : { host: 9, mmu: 10 }),
      saved: ept ? { SAVED_R: 54, SAVED_X: 56 } : {},
    },
    {
      ...NEW,
      ...(ept ? { host: 53, mmu: 55 } : { host: 9, mmu: 10 }),
      saved: ept ? { SAVED_R: 52, SAVED_X: 54, SAVED_XU: 62 } : {},
    },
  ];
}

const PRESENT = bit('SPTE', 11, 'valid for KVM', { is: 1 });

function typeOf({ type: [high, low] }: Marks): Field {
  return bits('AD', high, low, 'how accessed and dirty are kept', { values: TYPES });
}

function spte(it: EntryFormat, marks: Marks): EntryFormat {
  const saved = Object.entries(marks.saved).map(([name, at]) =>
    bit(name, at, 'permission kept while access is tracked', { role: 'software' }),
  );
  const leaf =
    it.kind === 'leaf'
      ? [
          bit('HOST_W', marks.host, 'the host lets KVM write the page', { role: 'software' }),
          bit('MMU_W', marks.mmu, 'KVM may make it writable without a lock', { role: 'software' }),
          ...saved,
        ]
      : [];
  const mine = [...leaf, typeOf(marks)];
  return format({
    ...it,
    name: `${it.name} of KVM`,
    only: marks.only,
    fields: changed(it.fields, ...mine, PRESENT),
    cite: linux(marks.version, SPTE),
  });
}

/** R, W and X are clear: hardware faults, and KVM learns of the access. */
function tracked(it: EntryFormat, marks: Marks): EntryFormat {
  const own = spte(it, marks);
  const zeroes = bits('0', 2, 0, 'no access: it is tracked', { is: 0 });
  const [high, low] = marks.type;
  const type = bits('AD', high, low, 'there are no A/D bits', { is: 1 });
  return format({
    ...own,
    kind: 'absent',
    name: `access-tracked ${it.name} of KVM`,
    fields: changed(own.fields, zeroes, type),
    matches: () => true,
    cite: linux(marks.version, 'arch/x86/kvm/mmu/spte.c', 'mark_spte_for_access_track'),
  });
}

function special(
  name: string,
  only: string,
  version: string,
  value: number,
  sign: 0 | 1,
  levels: readonly number[],
): EntryFormat {
  return format({
    name: `entry that KVM has ${name}`,
    kind: 'absent',
    levels,
    only,
    fields: [
      bit(name === 'removed' ? '0' : 'SVE', 63, 'suppress #VE', { is: sign }),
      bits(name.toUpperCase(), 62, 0, 'another CPU is changing the entry, or it is gone', {
        is: value,
      }),
    ],
    cite: linux(version, SPTE, name === 'removed' ? 'REMOVED_SPTE' : 'FROZEN_SPTE'),
  });
}

function mmio({ ept }: Stage, { only, version }: Marks): EntryFormat {
  const top = only === NEW.only ? 9 : 10;
  const low = ept
    ? [bits('MMIO', 2, 0, 'write and execute without read: always faults', { is: 6 })]
    : [
        bit('U', 2, 'user access'),
        bit('W', 1, 'write access'),
        bit('P', 0, 'present, with a reserved bit: always faults', { is: 1 }),
      ];
  const address = ept
    ? [bits('GPA', 51, 12, 'guest-physical address', { address: 12 })]
    : [
        bit('MMIO', 51, 'beyond the physical address width: always faults', { is: 1 }),
        bits('GPA', 50, 12, 'guest-physical address', { address: 12 }),
      ];
  return format({
    name: 'MMIO entry of KVM',
    kind: 'absent',
    levels: [0],
    only,
    fields: [
      ept ? bit('SVE', 63, 'suppress #VE: not set', { is: 0 }) : ignored(63),
      bits('gen', 62, 52, 'generation of the memory slots, high part'),
      ...address,
      bit('SPTE', 11, 'not an ordinary entry', { is: 0 }),
      ...(top === 9 ? [ignored(10)] : []),
      bits('gen', top, 3, 'generation of the memory slots, low part'),
      ...low,
    ],
    cite: linux(version, 'arch/x86/kvm/mmu/spte.c', 'make_mmio_spte'),
  });
}

/** Every format of KVM's for a second stage with these hardware formats. */
export function kvmFormats(stage: Stage): EntryFormat[] {
  const { leaves, tables, levels, ept } = stage;
  return [
    ...versions(stage).flatMap((marks) => [
      mmio(stage, marks),
      ...leaves.map((it) => spte(it, marks)),
      ...(ept ? leaves.map((it) => tracked(it, marks)) : []),
      ...tables.map((it) => spte(it, marks)),
    ]),
    special('removed', 'KVM 6.1', 'v6.1', 0x5a0, 0, levels),
    special('frozen', 'KVM 6.12', 'v6.12', 0x5a0, 1, levels),
    special('frozen', 'KVM 7.2', 'v7.2', 0x1a0, 1, levels),
  ];
}

/** The values of the special entries, by kernel, as protocols compare them. */
export const FROZEN_SPTE: Readonly<Record<'v6.1' | 'v6.12' | 'v7.2', bigint>> = {
  'v6.1': 0x5a0n,
  'v6.12': (1n << 63n) | 0x5a0n,
  'v7.2': (1n << 63n) | 0x1a0n,
};

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * ept pte: MMIO entry of KVM (KVM 6.1, 6.12)
 *
 *     63   62..52  51..12  11    10..3  2..0
 *     SVE  gen     GPA     SPTE  gen    MMIO
 *
 * ept pte: 4 KiB page of KVM (KVM 6.1, 6.12)
 *
 *     63   62  61   60   59  58     57      56       55  54       53..52  51..12  11    10  9  8  7  6
 *     SVE  -   SPP  SSS  -   MMU_W  HOST_W  SAVED_X  -   SAVED_R  AD      PFN     SPTE  XU  D  A  -  IPAT
 *     5..3  2  1  0
 *     MT    X  W  R
 *
 * ept pmd: 2 MiB page of KVM (KVM 6.1, 6.12)
 *
 *     63   62  61   60   59  58     57      56       55  54       53..52  51..21  20..12  11    10  9  8
 *     SVE  -   SPP  SSS  -   MMU_W  HOST_W  SAVED_X  -   SAVED_R  AD      PFN     0       SPTE  XU  D  A
 *     7     6     5..3  2  1  0
 *     leaf  IPAT  MT    X  W  R
 *
 * ept pud: 1 GiB page of KVM (KVM 6.1, 6.12)
 *
 *     63   62  61   60   59  58     57      56       55  54       53..52  51..30  29..12  11    10  9  8
 *     SVE  -   SPP  SSS  -   MMU_W  HOST_W  SAVED_X  -   SAVED_R  AD      PFN     0       SPTE  XU  D  A
 *     7     6     5..3  2  1  0
 *     leaf  IPAT  MT    X  W  R
 *
 * ept pte: access-tracked 4 KiB page of KVM (KVM 6.1, 6.12)
 *
 *     63   62  61   60   59  58     57      56       55  54       53..52  51..12  11    10  9  8  7  6
 *     SVE  -   SPP  SSS  -   MMU_W  HOST_W  SAVED_X  -   SAVED_R  AD      PFN     SPTE  XU  D  A  -  IPAT
 *     5..3  2..0
 *     MT    0
 *
 * ept pmd: access-tracked 2 MiB page of KVM (KVM 6.1, 6.12)
 *
 *     63   62  61   60   59  58     57      56       55  54       53..52  51..21  20..12  11    10  9  8
 *     SVE  -   SPP  SSS  -   MMU_W  HOST_W  SAVED_X  -   SAVED_R  AD      PFN     0       SPTE  XU  D  A
 *     7     6     5..3  2..0
 *     leaf  IPAT  MT    0
 *
 * ept pud: access-tracked 1 GiB page of KVM (KVM 6.1, 6.12)
 *
 *     63   62  61   60   59  58     57      56       55  54       53..52  51..30  29..12  11    10  9  8
 *     SVE  -   SPP  SSS  -   MMU_W  HOST_W  SAVED_X  -   SAVED_R  AD      PFN     0       SPTE  XU  D  A
 *     7     6     5..3  2..0
 *     leaf  IPAT  MT    0
 *
 * ept pmd, pud: table of KVM (KVM 6.1, 6.12)
 *
 *     63..54  53..52  51..12  11    10  9  8  7     6..3  2  1  0
 *     -       AD      PFN     SPTE  XU  -  A  leaf  0     X  W  R
 *
 * ept pgd: table of KVM (KVM 6.1, 6.12)
 *
 *     63..54  53..52  51..12  11    10  9  8  7..3  2  1  0
 *     -       AD      PFN     SPTE  XU  -  A  0     X  W  R
 *
 * ept pte: MMIO entry of KVM (KVM 7.2)
 *
 *     63   62..52  51..12  11    10  9..3  2..0
 *     SVE  gen     GPA     SPTE  -   gen   MMIO
 *
 * ept pte: 4 KiB page of KVM (KVM 7.2)
 *
 *     63   62        61..60  59  58  57   56  55     54       53      52       51..12  11    10  9  8  7
 *     SVE  SAVED_XU  AD      -   PW  VPW  -   MMU_W  SAVED_X  HOST_W  SAVED_R  PFN     SPTE  XU  D  A  -
 *     6     5..3  2  1  0
 *     IPAT  MT    X  W  R
 *
 * ept pmd: 2 MiB page of KVM (KVM 7.2)
 *
 *     63   62        61..60  59  58  57   56  55     54       53      52       51..21  20..12  11    10  9
 *     SVE  SAVED_XU  AD      -   PW  VPW  -   MMU_W  SAVED_X  HOST_W  SAVED_R  PFN     0       SPTE  XU  D
 *     8  7     6     5..3  2  1  0
 *     A  leaf  IPAT  MT    X  W  R
 *
 * ept pud: 1 GiB page of KVM (KVM 7.2)
 *
 *     63   62        61..60  59  58  57   56  55     54       53      52       51..30  29..12  11    10  9
 *     SVE  SAVED_XU  AD      -   PW  VPW  -   MMU_W  SAVED_X  HOST_W  SAVED_R  PFN     0       SPTE  XU  D
 *     8  7     6     5..3  2  1  0
 *     A  leaf  IPAT  MT    X  W  R
 *
 * ept pte: access-tracked 4 KiB page of KVM (KVM 7.2)
 *
 *     63   62        61..60  59  58  57   56  55     54       53      52       51..12  11    10  9  8  7
 *     SVE  SAVED_XU  AD      -   PW  VPW  -   MMU_W  SAVED_X  HOST_W  SAVED_R  PFN     SPTE  XU  D  A  -
 *     6     5..3  2..0
 *     IPAT  MT    0
 *
 * ept pmd: access-tracked 2 MiB page of KVM (KVM 7.2)
 *
 *     63   62        61..60  59  58  57   56  55     54       53      52       51..21  20..12  11    10  9
 *     SVE  SAVED_XU  AD      -   PW  VPW  -   MMU_W  SAVED_X  HOST_W  SAVED_R  PFN     0       SPTE  XU  D
 *     8  7     6     5..3  2..0
 *     A  leaf  IPAT  MT    0
 *
 * ept pud: access-tracked 1 GiB page of KVM (KVM 7.2)
 *
 *     63   62        61..60  59  58  57   56  55     54       53      52       51..30  29..12  11    10  9
 *     SVE  SAVED_XU  AD      -   PW  VPW  -   MMU_W  SAVED_X  HOST_W  SAVED_R  PFN     0       SPTE  XU  D
 *     8  7     6     5..3  2..0
 *     A  leaf  IPAT  MT    0
 *
 * ept pmd, pud: table of KVM (KVM 7.2)
 *
 *     63..62  61..60  59..52  51..12  11    10  9  8  7     6..3  2  1  0
 *     -       AD      -       PFN     SPTE  XU  -  A  leaf  0     X  W  R
 *
 * ept pgd: table of KVM (KVM 7.2)
 *
 *     63..62  61..60  59..52  51..12  11    10  9  8  7..3  2  1  0
 *     -       AD      -       PFN     SPTE  XU  -  A  0     X  W  R
 *
 * ept pte, pmd, pud, pgd: entry that KVM has removed (KVM 6.1)
 *
 *     63  62..0
 *     0   REMOVED
 *
 * ept pte, pmd, pud, pgd: entry that KVM has frozen (KVM 6.12)
 *
 *     63   62..0
 *     SVE  FROZEN
 *
 * ept pte, pmd, pud, pgd: entry that KVM has frozen (KVM 7.2)
 *
 *     63   62..0
 *     SVE  FROZEN
 *
 * npt pte: MMIO entry of KVM (KVM 6.1, 6.12)
 *
 *     63  62..52  51    50..12  11    10..3  2  1  0
 *     -   gen     MMIO  GPA     SPTE  gen    U  W  P
 *
 * npt pte: 4 KiB page of KVM (KVM 6.1, 6.12)
 *
 *     63  62..54  53..52  51..12  11    10     9       8  7    6  5  4    3    2   1   0
 *     NX  -       AD      PFN     SPTE  MMU_W  HOST_W  G  PAT  D  A  PCD  PWT  US  RW  P
 *
 * npt pmd: 2 MiB page of KVM (KVM 6.1, 6.12)
 *
 *     63  62..54  53..52  51..21  20..13  12   11    10     9       8  7   6  5  4    3    2   1   0
 *     NX  -       AD      PFN     0       PAT  SPTE  MMU_W  HOST_W  G  PS  D  A  PCD  PWT  US  RW  P
 *
 * npt pud: 1 GiB page of KVM (KVM 6.1, 6.12)
 *
 *     63  62..54  53..52  51..30  29..13  12   11    10     9       8  7   6  5  4    3    2   1   0
 *     NX  -       AD      PFN     0       PAT  SPTE  MMU_W  HOST_W  G  PS  D  A  PCD  PWT  US  RW  P
 *
 * npt pmd, pud: table of KVM (KVM 6.1, 6.12)
 *
 *     63  62..54  53..52  51..12  11    10..8  7   6  5  4    3    2   1   0
 *     NX  -       AD      PFN     SPTE  -      PS  -  A  PCD  PWT  US  RW  P
 *
 * npt pgd: root table of KVM (KVM 6.1, 6.12)
 *
 *     63  62..54  53..52  51..12  11    10..8  7  6  5  4    3    2   1   0
 *     NX  -       AD      PFN     SPTE  -      0  -  A  PCD  PWT  US  RW  P
 *
 * npt pte: MMIO entry of KVM (KVM 7.2)
 *
 *     63  62..52  51    50..12  11    10  9..3  2  1  0
 *     -   gen     MMIO  GPA     SPTE  -   gen   U  W  P
 *
 * npt pte: 4 KiB page of KVM (KVM 7.2)
 *
 *     63  62  61..60  59..52  51..12  11    10     9       8  7    6  5  4    3    2   1   0
 *     NX  -   AD      -       PFN     SPTE  MMU_W  HOST_W  G  PAT  D  A  PCD  PWT  US  RW  P
 *
 * npt pmd: 2 MiB page of KVM (KVM 7.2)
 *
 *     63  62  61..60  59..52  51..21  20..13  12   11    10     9       8  7   6  5  4    3    2   1   0
 *     NX  -   AD      -       PFN     0       PAT  SPTE  MMU_W  HOST_W  G  PS  D  A  PCD  PWT  US  RW  P
 *
 * npt pud: 1 GiB page of KVM (KVM 7.2)
 *
 *     63  62  61..60  59..52  51..30  29..13  12   11    10     9       8  7   6  5  4    3    2   1   0
 *     NX  -   AD      -       PFN     0       PAT  SPTE  MMU_W  HOST_W  G  PS  D  A  PCD  PWT  US  RW  P
 *
 * npt pmd, pud: table of KVM (KVM 7.2)
 *
 *     63  62  61..60  59..52  51..12  11    10..8  7   6  5  4    3    2   1   0
 *     NX  -   AD      -       PFN     SPTE  -      PS  -  A  PCD  PWT  US  RW  P
 *
 * npt pgd: root table of KVM (KVM 7.2)
 *
 *     63  62  61..60  59..52  51..12  11    10..8  7  6  5  4    3    2   1   0
 *     NX  -   AD      -       PFN     SPTE  -      0  -  A  PCD  PWT  US  RW  P
 */
