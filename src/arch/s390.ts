import { manual } from '../base/citation.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
import { impossible } from './kconfig.ts';
import { POP, PTE_FORMATS, UPPER, upperFormats } from './s390-entry.ts';
import { S390_ROOTS } from './s390-roots.ts';
import { S390_RULES, s390_config } from './s390-rules.ts';
import { ONE_WORD, machineOf, tableKind, type Level, type TableKind } from './table-kind.ts';

/** s390 with 3, 4 and 5 levels. */

const LEVELS: readonly Level[] = [
  ['pte', 'page table', 12, 8, 2048, 'Page-Table Entries'],
  ['pmd', 'segment table', 20, 11, 4096, 'Segment-Table Entries'],
  ['pud', 'region-third table', 31, 11, 4096, 'Region-Table Entries'],
  ['p4d', 'region-second table', 42, 11, 4096, 'Region-Table Entries'],
  ['pgd', 'region-first table', 53, 11, 4096, 'Region-Table Entries'],
].map(([name, title, shift, width, align, section]) => ({
  name: String(name),
  title: String(title),
  shift: Number(shift),
  bits: Number(width),
  bytes: 8 * 2 ** Number(width),
  align: Number(align),
  cite: manual(POP, String(section)),
}));

function kind(name: string, title: string, count: number): TableKind {
  const top = LEVELS[count - 1] as Level;
  return tableKind({
    name,
    title,
    stage: 1,
    byteOrder: 'big',
    pageShift: 12,
    // Linux calls the top level pgd whatever it is.
    levels: LEVELS.slice(0, count).map((it) => (it === top ? { ...it, name: 'pgd' } : it)),
    addressBits: top.shift + top.bits,
    upperBits: 'zero',
    formats: [
      ...PTE_FORMATS,
      ...UPPER.filter(({ level }) => level < count).flatMap((it) => upperFormats(it)),
    ],
    roots: S390_ROOTS,
    access: ONE_WORD,
    hardware: { accessed: 'never', dirty: 'never', tables: false },
    rules: S390_RULES,
    links: (at): Readonly<Record<string, bigint>> => (at === 1 ? {} : { TL: 3n }),
    maps: (at, { writable }) => ({
      P: writable ? 0n : 1n,
      W: writable ? 1n : 0n,
      D: writable ? 1n : 0n, // what is clean is protected
      RD: 1n,
      Y: 1n,
      ...(at === 0 ? { PRES: 1n } : {}),
    }),
  });
}

/** All levels. */
export const s390_tables: TableKind = kind('s390', 's390', 5);
export const s390_r3_tables: TableKind = kind('s390_r3', 's390, 3 levels', 3);
export const s390_r2_tables: TableKind = kind('s390_r2', 's390, 4 levels', 4);

export const s390_descriptor: ArchDescriptor = machineOf(s390_r2_tables, {
  name: 's390',
  title: 's390',
  flush: 'idte',
  config: s390_config,
  impossible,
});
