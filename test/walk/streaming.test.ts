import { expect, test } from 'vitest';
import { tableKindNamed } from '../../src/arch/kinds.ts';
import { FilePieces } from '../../src/cli/image/file-pieces.ts';
import { PhysicalImage } from '../../src/cli/image/physical-image.ts';
import { mappings } from '../../src/walk/mappings.ts';
import { merged } from '../../src/walk/ranges.ts';
import { rootTable } from '../../src/walk/tables.ts';
import { work } from './walked.ts';

/**
 * A million pages in an image of 128 GiB that is made as it is read: every table is in a piece of its own,
 * and no two pages are neighbours.
 */
test('a million mapped pages: each table is read once, and little is kept', () => {
  const kind = tableKindNamed('x86_64');
  const tables = 2048; // of 512 pages each
  const stride = 32n * 1024n * 1024n;
  const tableAt = (number: number): bigint => BigInt(number + 8) * stride;
  const page = kind.map(0, 0n, { writable: true });
  const content = (address: bigint, index: number): bigint => {
    if (address === 0x1000n) return index === 0 ? kind.link(3, 0x2000n) : 0n;
    if (address === 0x2000n) return index < 4 ? kind.link(2, BigInt(0x3000 + index * 0x1000)) : 0n;
    const directory = Number(address / 0x1000n) - 3;
    if (directory < 4) return kind.link(1, tableAt(directory * 512 + index));
    return page | (((address >> 12n) * 1024n + BigInt(index * 2)) << 12n);
  };
  const pieces = new FilePieces((into, offset) => {
    const view = new DataView(into.buffer);
    for (let at = 0; at < into.length; at += 8) {
      const address = BigInt(offset + at);
      const known = address < 0x8000n || address % stride < 0x1000n;
      const index = Number(address % 0x1000n) / 8;
      const value = known && address >= 0x1000n ? content(address & ~0xfffn, index) : 0n;
      view.setBigUint64(at, address >= 0x7000n && address < 0x8000n ? 0n : value, true);
    }
    return into.length;
  });
  const memory = new PhysicalImage(pieces, [{ start: 0n, bytes: 1n << 37n, offset: 0 }]);
  const walk = work();
  let ranges = 0;
  for (const it of merged(
    mappings({ kind, memory, root: rootTable(kind, 0x1000n) }, walk),
    'tlb',
  )) {
    if (it.what === 'range') ranges++;
  }
  expect(ranges).toBe(1_048_576);
  expect(walk.tables).toBe(tables + 6);
  // The upper tables are in two pieces, and each page table costs one of 16 KiB.
  expect(pieces.bytesRead).toBe((tables + 2) * 16384);
  expect(pieces.peak).toBe(1024);
});
