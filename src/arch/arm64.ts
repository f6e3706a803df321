import { manual } from '../base/citation.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
import { ARM, formats, shiftOf, sizeText, type Shape } from './arm64-entry.ts';
import { ARM64_RULES, arm64_config } from './arm64-rules.ts';
import type { Decoded } from './decode.ts';
import { bit, bits, format, type EntryFormat } from './entry-format.ts';
import { impossible } from './kconfig.ts';
import {
  ONE_WORD,
  levelNames,
  machineOf,
  tableKind,
  type Level,
  type TableKind,
} from './table-kind.ts';

/** arm64 stage 1 with granules of 4, 16 and 64 KiB, and with 52-bit addresses. */

export function levels(shape: Shape, count: number): Level[] {
  return levelNames(count).map((name, at) => {
    const shift = shiftOf(shape, at);
    const width = at === count - 1 ? shape.input - shift : shape.page - 3;
    return {
      name,
      title: `level ${3 - at} table`,
      shift,
      bits: width,
      bytes: 8 * 2 ** width,
      align: Math.max(64, 8 * 2 ** width),
      cite: manual(ARM, 'Translation table walks, granule sizes and levels'),
    };
  });
}

/** Hardware that manages both: AF is set, and the first write to a clean writable page clears AP[2]. */
function touch(entry: Decoded, value: bigint, write: boolean): bigint | null {
  if (!entry.present) return null;
  if (entry.table) return write && !entry.writable ? null : value;
  const accessed = value | (1n << 10n);
  if (!write || entry.writable) return accessed;
  return ((value >> 51n) & 1n) === 1n ? accessed & ~(1n << 7n) : null;
}

const TTBR: EntryFormat = format({
  name: 'TTBR',
  kind: 'table',
  levels: [],
  fields: [
    bits('ASID', 63, 48, 'address-space identifier, if TCR_EL1.A1 chooses this register'),
    bits('BADDR', 47, 1, 'physical address of the top-level table', { address: 1 }),
    bit('CnP', 0, 'common, not private: shared by the processors of the domain'),
  ],
  cite: manual('Arm ARM DDI 0487', 'TTBR0_EL1, TTBR1_EL1'),
});

function kind(name: string, shape: Shape): TableKind {
  const count = Math.floor((shape.input - 4) / (shape.page - 3));
  return tableKind({
    name,
    title: `arm64, ${sizeText(shape.page)} pages, ${shape.input}-bit addresses`,
    stage: 1,
    byteOrder: 'little',
    pageShift: shape.page,
    levels: levels(shape, count),
    addressBits: shape.input,
    upperBits: 'root',
    formats: formats(shape, count),
    roots: [TTBR],
    access: ONE_WORD,
    hardware: { accessed: 'optional', dirty: 'optional', tables: false },
    touch,
    rules: ARM64_RULES,
    links: {},
    maps: (_at, { writable }) => ({
      AP1: 1n,
      ...(shape.wide === 'lpa2' ? {} : { SH: 3n }),
      AF: 1n,
      AP2: writable ? 0n : 1n,
    }),
  });
}

export const arm64_tables: TableKind = kind('arm64', { page: 12, input: 48, wide: 'no' });
export const arm64_16k_tables: TableKind = kind('arm64_16k', { page: 14, input: 48, wide: 'no' });
export const arm64_64k_tables: TableKind = kind('arm64_64k', { page: 16, input: 48, wide: 'no' });
export const arm64_lpa2_tables: TableKind = kind('arm64_lpa2', {
  page: 12,
  input: 52,
  wide: 'lpa2',
});
export const arm64_16k_lpa2_tables: TableKind = kind('arm64_16k_lpa2', {
  page: 14,
  input: 52,
  wide: 'lpa2',
});
export const arm64_64k_lpa_tables: TableKind = kind('arm64_64k_lpa', {
  page: 16,
  input: 52,
  wide: 'lpa',
});

const machine = {
  flush: 'tlbi',
  weaklyOrdered: true,
  config: arm64_config,
  impossible,
} as const;

export const arm64_descriptors: Readonly<Record<'4k' | '16k' | '64k', ArchDescriptor>> = {
  '4k': machineOf(arm64_tables, { ...machine, title: 'arm64' }),
  '16k': machineOf(arm64_16k_tables, { ...machine, title: 'arm64 with 16 KiB pages' }),
  '64k': machineOf(arm64_64k_tables, { ...machine, title: 'arm64 with 64 KiB pages' }),
};
