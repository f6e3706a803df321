import { expect, test } from 'vitest';
import * as machines from '../../src/arch/index.ts';
import type { MachineSpec } from '../../src/arch/index.ts';

/** Entries that map huge pages, and entries that stand for a page on the move, as the machine sees them. */

const { arm64, powerpc_radix, riscv, s390, x86_64, x86_pae } = machines;
const MACHINES: [string, MachineSpec][] = [
  ['x86_64', x86_64({ cpus: 1 })],
  ['x86_64, 5 levels', x86_64({ cpus: 1, levels: 5 })],
  ['x86_pae', x86_pae({ cpus: 1 })],
  ['arm64', arm64({ cpus: 1 })],
  ['arm64, 16 KiB', arm64({ cpus: 1, granule: '16k' })],
  ['powerpc_radix', powerpc_radix({ cpus: 1 })],
  ['s390', s390({ cpus: 1 })],
  ['riscv', riscv({ cpus: 1 })],
  ['riscv, sv39', riscv({ cpus: 1, mode: 'sv39' })],
];

test.each(MACHINES)('%s: a PMD entry maps the page that it was made of', (_name, { arch }) => {
  for (const frame of [1, 5, 300]) {
    for (const writable of [true, false]) {
      const bits = arch.leaf(1, frame, { writable });
      expect(arch.decode(1, bits)).toMatchObject({ present: true, table: false, frame, writable });
    }
  }
});

test.each(MACHINES)('%s: a migration entry is neither present nor none', (_name, { arch }) => {
  const entries = [1, 5].map((frame) => arch.absent(0, frame));
  expect(entries[0]).not.toBe(entries[1]);
  for (const bits of entries) {
    expect(arch.decode(0, bits)).toMatchObject({ present: false, table: false, none: false });
  }
});
