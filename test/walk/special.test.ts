import { describe, expect, test } from 'vitest';
import { addressValues, encode } from '../../src/arch/entry-format.ts';
import { tableKindNamed } from '../../src/arch/kinds.ts';
import type { TableKind } from '../../src/arch/table-kind.ts';
import { full, translated } from '../../src/walk/addresses.ts';
import { accessText } from '../../src/walk/access.ts';
import { rootTable } from '../../src/walk/tables.ts';
import { translate } from '../../src/walk/translate.ts';
import { Random } from '../compare/random.ts';
import { Layout, Memory, placer } from './layout.ts';
import { tablesOf, walkAll } from './walked.ts';

/** What single architectures have of their own, and what an address may be. */

function build(name: string): { kind: TableKind; memory: Memory; layout: Layout } {
  const kind = tableKindNamed(name);
  const memory = new Memory();
  const layout = new Layout(
    kind,
    (address, value) => memory.write(address, value, kind),
    placer(new Random(7)),
  );
  return { kind, memory, layout };
}

test('arm64: the contiguous bit changes no address', () => {
  const { memory, layout } = build('arm64');
  for (let page = 0n; page < 16n; page++) {
    layout.map(
      0x10000n + page * 0x1000n,
      0x80000n + page * 0x1000n,
      0,
      true,
      (e) => e | (1n << 52n),
    );
  }
  const { ranges } = walkAll(tablesOf(layout, memory));
  expect(ranges).toMatchObject([{ start: 0x10000n, end: 0x20000n, physical: 0x80000n, pages: 16 }]);
});

test('RISC-V: the entries of a NAPOT run all hold the address of the run', () => {
  const { kind, memory, layout } = build('riscv_sv39');
  const run = kind.formats.find(({ name }) => name.includes('NAPOT'))!;
  const entry = encode(run, { ...addressValues(run, 0x50000n), R: 1n, U: 1n, A: 1n });
  for (let page = 0n; page < 16n; page++) {
    layout.map(0x20000n + page * 0x1000n, 0n, 0, false, () => entry);
  }
  const tables = tablesOf(layout, memory);
  const { ranges } = walkAll(tables);
  expect(ranges).toMatchObject([{ start: 0x20000n, end: 0x30000n, physical: 0x50000n, pages: 16 }]);
  expect(translate(tables, 0x2a123n).end).toMatchObject({ kind: 'mapped', physical: 0x5a123n });
});

test('s390: entries that offset and length leave out are not looked at', () => {
  const { kind, memory, layout } = build('s390_r3');
  // One page in each quarter of a segment table: 512 entries, 512 MiB.
  const quarter = 512n << 20n;
  for (let at = 0n; at < 4n; at++) layout.map(at * quarter, 0x1000n * (at + 1n), 0, true);
  const link = layout.entryAt(0n, 2);
  const before = Buffer.from(memory.bytes).readBigUInt64BE(Number(link));
  const window = (tf: bigint, tl: bigint): void => {
    memory.write(link, (before & ~0xc3n) | (tf << 6n) | tl, kind);
  };
  const starts = (): bigint[] => walkAll(tablesOf(layout, memory)).ranges.map(({ start }) => start);
  expect(starts()).toEqual([0n, quarter, 2n * quarter, 3n * quarter]);
  window(1n, 2n);
  expect(starts()).toEqual([quarter, 2n * quarter]);
  expect(translate(tablesOf(layout, memory), 0n).end).toMatchObject({
    kind: 'absent',
    why: 'no entry 0: the table has 512 to 1535',
  });
  window(3n, 1n);
  expect(starts()).toEqual([]);
});

test('powerpc: a directory that says its table is larger than the architecture has them', () => {
  const { kind, memory, layout } = build('powerpc_radix_64k');
  layout.map(0x10000n, 0x40000n, 0, true);
  const link = layout.entryAt(0x10000n, 1);
  const entry = Buffer.from(memory.bytes).readBigUInt64BE(Number(link));
  memory.write(link, (entry & ~31n) | 9n, kind);
  const { ranges, problems } = walkAll(tablesOf(layout, memory));
  expect(ranges).toEqual([]);
  expect(problems).toMatchObject([{ kind: 'refused', at: link, level: 1 }]);
  expect(problems[0]?.why).toBe(
    'it says that the next table has 512 entries; a page table of powerpc_radix_64k has 32',
  );
});

test('permissions are those that every level allows', () => {
  const { kind, memory, layout } = build('x86_64');
  layout.map(0x1000n, 0x5000n, 0, true);
  layout.map(0x40000000n, 0x6000n, 0, true);
  const access = (): string[] =>
    walkAll(tablesOf(layout, memory)).ranges.map((range) => accessText(range.access));
  expect(access()).toEqual(['urwx', 'urwx']);
  const pud = layout.entryAt(0x1000n, 2);
  const entry = memory.bytes.readBigUInt64LE(Number(pud));
  // Without RW and US, and with NX: what is below has none of it, its neighbour all.
  memory.write(pud, (entry & ~6n) | (1n << 63n), kind);
  expect(access()).toEqual(['-r--', 'urwx']);
});

test('a second stage that keeps users out allows nothing', () => {
  const { kind, memory, layout } = build('npt');
  layout.map(0x1000n, 0x5000n, 0, true, (entry) => entry & ~4n);
  layout.map(0x3000n, 0x5000n, 0, true);
  const { ranges } = walkAll(tablesOf(layout, memory));
  expect(kind.stage).toBe(2);
  expect(ranges.map(({ access }) => accessText(access))).toEqual(['----', 'urwx']);
});

describe('merging', () => {
  const { kind, memory, layout } = build('x86_64');
  layout.map(0x1000n, 0x5000n, 0, true, (entry) => entry | 0x40n);
  layout.map(0x2000n, 0x6000n, 0, true);
  layout.map(0x3000n, 0x9000n, 0, true);
  layout.map(0x4000n, 0xa000n, 0, false);
  layout.map(0x6000n, 0xb000n, 0, false);
  const tables = tablesOf(layout, memory);
  const rows = (merge: 'tlb' | 'mem' | 'none'): unknown[] =>
    walkAll(tables, merge).ranges.map(({ start, end, physical, pages }) => [
      start,
      end,
      physical,
      pages,
    ]);

  test('tlb: frames and permissions; mem: permissions; none: nothing', () => {
    expect(kind.name).toBe('x86_64');
    expect(rows('tlb')).toEqual([
      [0x1000n, 0x3000n, 0x5000n, 2],
      [0x3000n, 0x4000n, 0x9000n, 1],
      [0x4000n, 0x5000n, 0xa000n, 1],
      [0x6000n, 0x7000n, 0xb000n, 1],
    ]);
    expect(rows('mem')).toEqual([
      [0x1000n, 0x4000n, null, 3],
      [0x4000n, 0x5000n, null, 1],
      [0x6000n, 0x7000n, null, 1],
    ]);
    expect(rows('none')).toHaveLength(5);
  });

  test('only single pages have accessed and dirty', () => {
    expect(walkAll(tables, 'none').ranges.map(({ dirty }) => dirty)).toEqual([
      ...[true, false, false, false, false],
    ]);
    expect(walkAll(tables).ranges[0]).toMatchObject({ accessed: null, dirty: null });
  });
});

describe('addresses', () => {
  test.each([
    ['x86_64', 0x7fffffffffffn, 0x7fffffffffffn],
    ['x86_64', 0xffff800000000000n, 0x800000000000n],
    ['x86_64_la57', 0xff80000000000000n, 0x180000000000000n],
    ['x86_pae', 0xffffffffn, 0xffffffffn],
    ['arm64', 0xffff000000001000n, 0x1000n],
    ['arm64', 0x0000800000000000n, 0x800000000000n],
    ['riscv_sv39', 0xffffffc000000000n, 0x4000000000n],
    ['s390', 0xffffffffffffffffn, 0xffffffffffffffffn],
  ])('%s translates the lower bits of %d', (name, address, low) => {
    const kind = tableKindNamed(name);
    expect(translated(kind, address, 'VA')).toBe(low);
    expect(full(kind, low, address >> 63n === 1n)).toBe(address);
  });

  test.each([
    ['x86_64', 0x800000000000n, 'copies of bit 47', '0xffff800000000000'],
    ['x86_64', 0x7fff000000000000n, 'copies of bit 47', '0x0'],
    ['x86_pae', 0x100000000n, 'bits 63..32 must be zero', '0x0'],
    ['arm64', 0x00ff000000001000n, 'all 0 or all 1', '0x1000'],
    ['ept', 0xffff800000000000n, 'bits 63..48 must be zero', '0x800000000000'],
    ['riscv_sv39', 0x4000000000n, 'copies of bit 38', '0xffffffc000000000'],
  ])('%s has no address %d', (name, address, rule, meant) => {
    expect(() => translated(tableKindNamed(name), address, 'VA')).toThrow(
      expect.objectContaining({
        code: 'E812',
        details: {
          notes: [expect.stringContaining(rule)],
          help: `did you mean ${meant}?`,
        },
      }),
    );
  });

  test('a root may be shorter than its table', () => {
    expect(rootTable(tableKindNamed('s390'), 0n, [0, 512])).toMatchObject({ first: 0, end: 512 });
    expect(rootTable(tableKindNamed('s390'), 0n)).toMatchObject({ first: 0, end: 2048 });
  });
});
