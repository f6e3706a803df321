import { describe, expect, test } from 'vitest';
import { TABLE_KINDS, tableKindNamed } from '../../src/arch/kinds.ts';
import { mappings } from '../../src/walk/mappings.ts';
import { merged } from '../../src/walk/ranges.ts';
import { rootTable, type Tables } from '../../src/walk/tables.ts';
import { translate } from '../../src/walk/translate.ts';
import { Random } from '../compare/random.ts';
import { Layout, Memory, anyBelow, placer } from './layout.ts';
import { tablesOf, walkAll, work } from './walked.ts';

/** Images that are cut off, damaged or made to mislead: the walk ends, and says what it met. */

const x86 = tableKindNamed('x86_64');

function x86Layout(): { memory: Memory; layout: Layout } {
  const memory = new Memory();
  const write = (at: bigint, value: bigint): void => memory.write(at, value, x86);
  return { memory, layout: new Layout(x86, write, placer(new Random(1))) };
}

test('a table that maps itself is walked to the depth of the tree', () => {
  const { memory, layout } = x86Layout();
  layout.map(0x400000n, 0x7000n, 0, true);
  const slot = 493n;
  memory.write(layout.root + 8n * slot, x86.link(3, layout.root), x86);
  const { ranges, problems } = walkAll(tablesOf(layout, memory));
  expect(problems).toEqual([]);
  // The four tables appear as pages: the root seen through itself four times, the others on their way.
  const self = slot << 39n;
  const at = (...indexes: bigint[]): bigint =>
    self + indexes.reduce((sum, index, i) => sum + (index << BigInt(30 - 9 * i)), 0n);
  const tables = [3, 2, 1].map(
    (level) => memory.bytes.readBigUInt64LE(Number(layout.entryAt(0x400000n, level))) & ~0xfffn,
  );
  const [pud, pmd, pte] = tables as [bigint, bigint, bigint];
  const seen = new Map(ranges.map(({ start, physical }) => [start, physical]));
  expect(seen.get(0x400000n)).toBe(0x7000n);
  expect(seen.get(at(0n, 0n, 2n))).toBe(pte);
  expect(seen.get(at(slot, 0n, 0n))).toBe(pmd);
  expect(seen.get(at(slot, slot, 0n))).toBe(pud);
  expect(seen.get(at(slot, slot, slot))).toBe(layout.root);
  expect(ranges.reduce((sum, { pages }) => sum + pages, 0)).toBe(5);
});

test('tables that share tables are bounded by the limit, and print as they go', () => {
  const { memory, layout } = x86Layout();
  for (let slot = 0n; slot < 512n; slot++) {
    memory.write(layout.root + 8n * slot, x86.link(3, layout.root), x86);
  }
  const limited = work(1000);
  let pages = 0;
  for (const it of mappings(tablesOf(layout, memory), limited))
    pages += it.what === 'mapping' ? 1 : 0;
  expect(limited).toEqual({ tables: 1000, most: 1000, stopped: true });
  expect(pages).toBeGreaterThan(400_000);
  // A consumer that has seen enough gets the first ranges of 2^36 pages without a walk of the rest.
  const first = merged(mappings(tablesOf(layout, memory), work()), 'tlb').next();
  expect(first.value).toMatchObject({ what: 'range', start: 0n, physical: layout.root });
});

test('a limit that is just enough does not stop', () => {
  const { memory, layout } = x86Layout();
  layout.map(0x400000n, 0x7000n, 0, true);
  for (const [most, stopped] of [
    [3, true],
    [4, false],
  ] as const) {
    const limited = work(most);
    expect([...mappings(tablesOf(layout, memory), limited)]).toHaveLength(stopped ? 0 : 1);
    expect(limited.stopped).toBe(stopped);
  }
});

test('a table outside the image is missing; the rest is listed', () => {
  const { memory, layout } = x86Layout();
  layout.map(0x1000n, 0x7000n, 0, true);
  layout.map(0x40000000n, 0x8000n, 0, true);
  memory.write(layout.entryAt(0x1000n, 1), x86.link(1, 0x123456000n), x86);
  const tables = tablesOf(layout, memory);
  const { ranges, problems } = walkAll(tables);
  expect(ranges).toMatchObject([{ start: 0x40000000n, physical: 0x8000n }]);
  expect(problems).toEqual([
    {
      what: 'problem',
      kind: 'missing',
      tables: x86,
      level: 0,
      at: 0x123456000n,
      bits: null,
      why: 'no memory',
      virtual: 0n,
    },
  ]);
  expect(translate(tables, 0x1000n).end).toMatchObject({
    kind: 'missing',
    missing: { address: 0x123456008n },
  });
});

test('an entry with reserved bits maps nothing, and is reported', () => {
  const { memory, layout } = x86Layout();
  layout.map(0x200000n, 0x400000n, 1, true, (entry) => entry | (1n << 14n));
  layout.map(0x400000n, 0x600000n, 1, true);
  const tables = tablesOf(layout, memory);
  const { ranges, problems } = walkAll(tables);
  expect(ranges).toMatchObject([{ start: 0x400000n }]);
  expect(problems).toMatchObject([
    {
      kind: 'refused',
      level: 1,
      at: layout.entryAt(0x200000n, 1),
      why: 'reserved bit 14 is set',
      virtual: 0x200000n,
    },
  ]);
  expect(translate(tables, 0x200000n).end).toMatchObject({ kind: 'refused' });
});

describe('any bytes: no exception, and an end', () => {
  test.each(TABLE_KINDS.map((kind) => [kind.name, kind] as const))('%s', (_name, kind) => {
    const random = new Random(4711);
    const memory = new Memory();
    const size = 1n << 17n;
    for (let at = 0n; at < size; at += 8n) {
      if (!random.chance(0.1)) continue;
      // Plausible ones among them: links within the image.
      const level = random.between(1, kind.levels.length - 1);
      const link = kind.link(level, BigInt(random.below(2)) << 16n);
      memory.write(at, random.chance(0.7) ? anyBelow(random, 1n << 64n) : link, kind);
    }
    memory.write(0n, kind.link(kind.levels.length - 1, 0n), kind);
    const tables: Tables = { kind, memory, root: rootTable(kind, 0n) };
    const limited = work(40);
    let [found, tooWide] = [0, 0];
    for (const it of mappings(tables, limited)) {
      found++;
      if (it.virtual >> BigInt(kind.addressBits) !== 0n) tooWide++;
    }
    expect(found).toBeGreaterThan(0);
    expect(tooWide).toBe(0);
    for (let i = 0; i < 200; i++) {
      const { visits } = translate(tables, anyBelow(random, 1n << BigInt(kind.addressBits)));
      expect(visits.length).toBeLessThanOrEqual(kind.levels.length);
    }
  });
});
