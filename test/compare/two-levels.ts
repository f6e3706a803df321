import type { ArchDescriptor } from '../../src/machine/arch.ts';

/** A leaf of the upper level: a page as large as a leaf table maps. */
export const HUGE = 8n;
/** What hardware marks: accessed, dirty. */
export const MARKS = 6n;

/** Of the second stage. */
export const WRITABLE = 16n;

/** Two levels are enough for walk caches and huge pages, and make short programs. */
const own: ArchDescriptor = {
  name: 'two_levels',
  title: 'two levels, for tests',
  levels: [
    { name: 'pte', shift: 12, bits: 9 },
    { name: 'pgd', shift: 21, bits: 9 },
  ],
  pageShift: 12,
  access: { load: ['whole'], set: ['whole'], clear: ['whole'] },
  hardware: {
    accessed: 'always',
    dirty: 'always',
    tables: false,
    touch: (_level, bits, { write }) => ((bits & 1n) === 0n ? null : bits | (write ? 6n : 2n)),
  },
  decode: (level, bits) => ({
    present: (bits & 1n) !== 0n,
    table: (bits & 1n) !== 0n && level > 0 && (bits & HUGE) === 0n,
    none: bits === 0n,
    writable: true,
    dirty: (bits & 4n) !== 0n,
    frame: Number(bits >> 12n),
  }),
  none: () => 0n,
  table: (_level, frame) => (BigInt(frame) << 12n) | 1n,
  leaf: (_level, frame) => (BigInt(frame) << 12n) | 1n,
  absent: (_level, frame) => BigInt(frame) << 12n,
  change: (_level, bits) => bits,
  flush: 'ipi',
  config: {
    MMU_GATHER_RCU_TABLE_FREE: true,
    MMU_GATHER_TABLE_FREE: true,
    PT_RECLAIM: false,
    MAX_TABLE_BATCH: 4,
    MAX_GATHER_BATCH: 8,
  },
};

/** With the tables of a hypervisor, which differ in one thing: a store needs W. */
export const two_levels: ArchDescriptor = {
  ...own,
  seconds: [
    {
      ...own,
      name: 'second',
      title: 'second stage, for tests',
      hardware: {
        ...own.hardware,
        touch: (_level, bits, { write }) =>
          (bits & 1n) === 0n || (write && (bits & WRITABLE) === 0n)
            ? null
            : bits | (write ? 6n : 2n),
      },
      decode: (level, bits) => ({ ...own.decode(level, bits), writable: (bits & WRITABLE) !== 0n }),
    },
  ],
};

/** The same as the machine's own, read and written by halves. */
export const two_halves: ArchDescriptor = {
  ...own,
  access: { load: ['low', 'high', 'low'], set: ['high', 'low'], clear: ['low', 'high'] },
};
