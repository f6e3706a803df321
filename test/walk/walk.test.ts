import { describe, expect, test } from 'vitest';
import { TABLE_KINDS } from '../../src/arch/kinds.ts';
import type { TableKind } from '../../src/arch/table-kind.ts';
import { accessText } from '../../src/walk/access.ts';
import type { Range } from '../../src/walk/ranges.ts';
import { translate } from '../../src/walk/translate.ts';
import { Random } from '../compare/random.ts';
import {
  Layout,
  Memory,
  anyBelow,
  fill,
  joined,
  leafLevels,
  placer,
  type Expected,
  type Piece,
} from './layout.ts';
import { tablesOf, walkAll } from './walked.ts';

/** What the pages that `TableKind.map` makes allow: read-only ones and writable ones. */
const ACCESS: readonly (readonly [RegExp, string, string])[] = [
  [/^x86|^npt/, 'ur-x', 'urwx'],
  [/^ept/, 'ur-x', 'urwx'],
  [/^arm64/, 'ur-x', 'urwx'],
  [/^powerpc|^riscv/, 'ur--', 'urw-'],
  [/^s390/, 'ur-x', 'urwx'],
];

function accessOf(kind: TableKind, writable: boolean): string {
  const [, read, write] = ACCESS.find(([names]) => names.test(kind.name)) ?? ['', '', ''];
  return writable ? write : read;
}

function seen({ start, end, physical, shift, access }: Range): object {
  return { start, end, physical, shift, access: accessText(access) };
}

function expectedRange(kind: TableKind, { writable, ...it }: Expected): object {
  return { ...it, access: accessOf(kind, writable) };
}

/** Every mapped address, and addresses between, one by one. */
function translationsAgree(layout: Layout, memory: Memory, random: Random): void {
  const { kind, pieces } = layout;
  const tables = tablesOf(layout, memory);
  const around = (it: Piece): bigint[] => {
    const inside = it.virtual + anyBelow(random, it.bytes);
    return [it.virtual, inside, it.virtual + it.bytes - 1n, it.virtual + it.bytes];
  };
  const addresses = random
    .some(Math.min(60, pieces.length), () => random.of(pieces))
    .flatMap(around)
    .filter((address) => address >> BigInt(kind.addressBits) === 0n);
  for (const address of addresses) {
    const holder = pieces.find((it) => it.virtual <= address && address < it.virtual + it.bytes);
    const { end, visits } = translate(tables, address);
    if (holder === undefined) {
      expect(end.kind).toBe('absent');
    } else {
      expect(end).toMatchObject({
        kind: 'mapped',
        physical: holder.physical + (address - holder.virtual),
        shift: holder.shift,
      });
      // From the root down to the page's level.
      const level = kind.levels.findIndex(({ shift }) => shift === holder.shift);
      expect(visits.map(({ step }) => step?.level)).toEqual(
        kind.levels
          .map((_, at) => at)
          .filter((at) => at >= level)
          .reverse(),
      );
    }
  }
}

describe.each(TABLE_KINDS.map((kind) => [kind.name, kind] as const))('%s', (_name, kind) => {
  test.each([1, 2, 3])('random layout %i: exactly what was put in', (seed) => {
    const random = new Random(seed * 7919);
    const memory = new Memory();
    const layout = new Layout(
      kind,
      (address, value) => memory.write(address, value, kind),
      placer(random),
    );
    fill(layout, random, 20, 44);
    const { ranges, problems } = walkAll(tablesOf(layout, memory));
    expect(problems).toEqual([]);
    expect(layout.pieces.length).toBeGreaterThan(20);
    expect(ranges.map(seen)).toEqual(joined(layout.pieces).map((it) => expectedRange(kind, it)));
    const pages = ranges.reduce((sum, range) => sum + range.pages, 0);
    expect(pages).toBe(layout.pieces.length);
    translationsAgree(layout, memory, random);
  });

  test('the first and the last address, at every level that has leaves', () => {
    for (const level of leafLevels(kind)) {
      const memory = new Memory();
      const random = new Random(level);
      const layout = new Layout(kind, (at, value) => memory.write(at, value, kind), placer(random));
      const size = 1n << BigInt(kind.levels[level]!.shift);
      const last = (1n << BigInt(kind.addressBits)) - size;
      expect(layout.map(0n, 0n, level, true)).toBe(true);
      expect(layout.map(last, size, level, false)).toBe(true);
      const { ranges } = walkAll(tablesOf(layout, memory));
      expect(ranges.map(({ start, end, physical }) => [start, end, physical])).toEqual([
        [0n, size, 0n],
        [last, last + size, size],
      ]);
      expect(translate(tablesOf(layout, memory), size).end.kind).toBe('absent');
    }
  });
});

test('every kind of table has an expectation', () => {
  for (const kind of TABLE_KINDS) expect(accessOf(kind, true)).toMatch(/^urw/);
});
