import { describe, expect, test } from 'vitest';
import { tableKindNamed } from '../../src/arch/kinds.ts';
import type { TableKind } from '../../src/arch/table-kind.ts';
import { EXECUTE, READ, USER, WRITE, accessText } from '../../src/walk/access.ts';
import { mappings } from '../../src/walk/mappings.ts';
import { both, nested } from '../../src/walk/nested.ts';
import { SecondStage } from '../../src/walk/second-stage.ts';
import { rootTable, type Tables } from '../../src/walk/tables.ts';
import { translate } from '../../src/walk/translate.ts';
import { Random } from '../compare/random.ts';
import { Layout, Memory, fill, joined, leafLevels, placer, type Piece } from './layout.ts';
import { rangesOf, tablesOf, work, type Walked } from './walked.ts';

/** Guest tables at guest-physical addresses, which a second stage scatters over the host's memory. */

const GUEST_BITS = 32;
const PAGE = 4096n;

/** Levels with pages of at most 2 MiB, which can be compared page by page. */
function small(kind: TableKind): number[] {
  return leafLevels(kind).filter((level) => kind.levels[level]!.shift <= 21);
}

interface Nest {
  readonly guest: Layout;
  readonly host: Layout;
  readonly tables: Tables;
  readonly second: SecondStage;
}

function nest(first: string, stage2: string, seed: number): Nest {
  const random = new Random(seed);
  const [kind, below] = [tableKindNamed(first), tableKindNamed(stage2)];
  const memory = new Memory();
  const hostPlace = placer(random);
  const host = new Layout(below, (at, value) => memory.write(at, value, below), hostPlace);
  const unit = 1n << BigInt(below.pageShift);
  const backed = new Map<bigint, bigint>();
  /** The host's page of a guest page that holds a table: anywhere. */
  const hostOf = (address: bigint): bigint => {
    const page = address / unit;
    let at = backed.get(page);
    if (at === undefined) {
      at = hostPlace(Number(unit), Number(unit));
      backed.set(page, at);
      host.map(page * unit, at, 0, true);
    }
    return at + (address % unit);
  };
  const guest = new Layout(
    kind,
    (address, value) => memory.write(hostOf(address), value, kind),
    placer(random, 0x100000),
  );
  fill(guest, random, 8, GUEST_BITS, small(kind));
  // The rest of the guest's memory: some of it, by pages of all sizes.
  for (const { physical, bytes } of guest.pieces) {
    const level = random.of(small(below));
    const size = 1n << BigInt(below.levels[level]!.shift);
    if (random.chance(0.3)) continue;
    for (let at = (physical / size) * size; at < physical + bytes; at += size) {
      const to = (BigInt(random.below(1000)) << 32n) + at;
      host.map(at, to, level, random.chance(0.8));
    }
  }
  const second = new SecondStage(tablesOf(host, memory));
  return {
    guest,
    host,
    second,
    tables: { kind, memory: second, root: rootTable(kind, guest.root) },
  };
}

/** Page by page, what both layouts map. */
function composed({ guest, host }: Nest): { pieces: Piece[]; holes: bigint } {
  const byPage = new Map<bigint, Piece>();
  for (const piece of host.pieces) {
    for (let at = 0n; at < piece.bytes; at += PAGE) byPage.set((piece.virtual + at) / PAGE, piece);
  }
  const pieces: Piece[] = [];
  let holes = 0n;
  for (const it of guest.pieces) {
    for (let at = 0n; at < it.bytes; at += PAGE) {
      const below = byPage.get((it.physical + at) / PAGE);
      if (below === undefined) {
        holes += PAGE;
        continue;
      }
      pieces.push({
        virtual: it.virtual + at,
        physical: below.physical + (it.physical + at - below.virtual),
        bytes: PAGE,
        shift: Math.min(it.shift, below.shift),
        writable: it.writable && below.writable,
      });
    }
  }
  return { pieces, holes };
}

function walkBoth({ tables, second }: Nest): Walked & { unbacked: bigint } {
  const unbacked = { bytes: 0n };
  const walked = rangesOf(nested(mappings(tables, work()), second, unbacked));
  return { ...walked, unbacked: unbacked.bytes };
}

const PAIRS = [
  ['x86_64', 'ept'],
  ['x86_64_la57', 'ept5'],
  ['x86_pae', 'npt'],
  ['arm64', 'arm64_s2'],
  ['arm64_64k', 'arm64_s2'],
  ['arm64', 'arm64_s2_64k'],
  ['riscv_sv39', 'riscv_sv39x4'],
] as const;

describe.each(PAIRS)('%s over %s', (first, stage2) => {
  test.each([1, 2])('random layout %i: what both stages map, and nothing else', (seed) => {
    const it = nest(first, stage2, seed);
    const { ranges, problems, unbacked } = walkBoth(it);
    const { pieces, holes } = composed(it);
    expect(problems).toEqual([]);
    expect(
      ranges.map(({ start, end, physical, shift, access }) => ({
        start,
        end,
        physical,
        shift,
        writable: (access & WRITE) !== 0,
      })),
    ).toEqual(joined(pieces));
    expect(unbacked).toBe(holes);
    expect(pieces.length).toBeGreaterThan(0);
    expect(holes).toBeGreaterThan(0n);
  });

  test('one address: each table access of the guest is a walk of the second stage', () => {
    const it = nest(first, stage2, 5);
    const [piece] = composed(it).pieces;
    const { visits, end, second } = translate(it.tables, piece!.virtual + 0x123n, it.second);
    for (const { at, second: walk } of visits) {
      const holder = it.host.pieces.find(
        ({ virtual, bytes }) => virtual <= at && at < virtual + bytes,
      );
      expect(walk?.end).toMatchObject({
        kind: 'mapped',
        physical: holder!.physical + (at - holder!.virtual),
      });
    }
    expect(end.kind).toBe('mapped');
    expect(second?.end).toMatchObject({ kind: 'mapped', physical: piece!.physical + 0x123n });
  });
});

test('a table of the guest that the second stage does not map is missing, and why', () => {
  const it = nest('x86_64', 'ept', 3);
  const table = it.guest.root;
  const entry = it.host.entryAt(table, 0);
  const { memory } = it.second.tables;
  (memory as Memory).write(entry, 0n, it.host.kind);
  const { ranges, problems } = walkBoth(it);
  expect(ranges).toEqual([]);
  expect(problems).toMatchObject([{ kind: 'missing', at: table, virtual: 0n }]);
  expect(problems[0]?.why).toBe(
    `guest-physical 0x${table.toString(16)} is not mapped: empty entry`,
  );
});

test('what may be done must be allowed by both; who may is the guest’s affair', () => {
  const all = USER | READ | WRITE | EXECUTE;
  expect(accessText(both(all, READ))).toBe('ur--');
  expect(accessText(both(READ | WRITE, all))).toBe('-rw-');
  expect(accessText(both(READ | WRITE, USER | READ | EXECUTE))).toBe('-r--');
});

test('an address that is wider than the second stage is not mapped', () => {
  const { second } = nest('x86_64', 'ept', 1);
  expect(second.translate(1n << 48n)).toMatchObject({
    kind: 'absent',
    why: 'it has more than the 48 bits that ept translates',
  });
});
