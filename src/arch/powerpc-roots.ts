import { manual } from '../base/citation.ts';
import { bit, bits, format, ignored, type EntryFormat } from './entry-format.ts';

/** The entries of the process and partition tables, each the first or second half of 16 bytes. */

const ISA = 'Power ISA 3.1, Book III, Radix Tree Translation';
const RTS = 'bits of the address, less 31';
/** The entries of the root directory that exist. */
const window = (entry: bigint): { readonly window: readonly [number, number] } => ({
  window: [0, 2 ** Number(entry & 31n)],
});

export const POWERPC_ROOTS: readonly EntryFormat[] = [
  format({
    name: 'PRTE0',
    kind: 'table',
    levels: [],
    fields: [
      ignored(63),
      bits('RTS', 62, 61, `${RTS}: high part`),
      ignored(60),
      bits('RPDB', 59, 8, 'physical address of the root directory', { address: 8 }),
      bits('RTS', 7, 5, `${RTS}: low part`),
      bits('RPDS', 4, 0, 'log2 of the entries of the root directory'),
    ],
    cite: manual(ISA, 'Process Table'),
    derived: window,
  }),
  format({
    name: 'PATE0',
    kind: 'table',
    levels: [],
    fields: [
      bit('HR', 63, 'the host uses radix'),
      bits('RTS', 62, 61, `${RTS}: high part`),
      ignored(60),
      bits('RPDB', 59, 8, 'physical address of the root directory', { address: 8 }),
      bits('RTS', 7, 5, `${RTS}: low part`),
      bits('RPDS', 4, 0, 'log2 of the entries of the root directory'),
    ],
    cite: manual(ISA, 'Partition Table'),
    derived: window,
  }),
  format({
    name: 'PATE1',
    kind: 'table',
    levels: [],
    fields: [
      bit('GR', 63, 'the guest uses radix'),
      ignored(62, 60),
      bits('PRTB', 59, 12, 'physical address of the process table', { address: 12 }),
      ignored(11, 5),
      bits('PRTS', 4, 0, 'log2 of the size of the process table, less 12'),
    ],
    cite: manual(ISA, 'Partition Table'),
  }),
];

/*
 * Drawings, compared with the code by test/arch/drawings.test.ts.
 *
 * powerpc_radix PRTE0
 *
 *     63  62..61  60  59..8  7..5  4..0
 *     -   RTS     -   RPDB   RTS   RPDS
 *
 * powerpc_radix PATE0
 *
 *     63  62..61  60  59..8  7..5  4..0
 *     HR  RTS     -   RPDB   RTS   RPDS
 *
 * powerpc_radix PATE1
 *
 *     63  62..60  59..12  11..5  4..0
 *     GR  -       PRTB    -      PRTS
 */
