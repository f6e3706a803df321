import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TABLE_KINDS } from '../../src/arch/kinds.ts';
import {
  addressOf,
  encode,
  keyOf,
  read,
  variable,
  type EntryFormat,
} from '../../src/arch/entry-format.ts';
import type { TableKind } from '../../src/arch/table-kind.ts';
import { anyBits, anyValues } from './arbitrary.ts';

/** What must hold of every list of fields, and of decoding and encoding by it. */

describe.each(TABLE_KINDS.map((kind) => [kind.name, kind] as const))('%s', (_name, kind) => {
  const all = [...kind.formats, ...kind.roots];
  const label = (at: (typeof all)[number]): string =>
    `${at.name}, levels ${at.levels.join()}${at.only === undefined ? '' : `, ${at.only}`}`;

  test('every format has each bit exactly once', () => {
    for (const format of all) {
      let next = 63;
      for (const { high, low, name: field } of format.fields) {
        expect(`${label(format)}: ${field} from ${high}`).toBe(
          `${label(format)}: ${field} from ${next}`,
        );
        expect(low).toBeLessThanOrEqual(high);
        next = low - 1;
      }
      expect(`${label(format)}: ${next}`).toBe(`${label(format)}: -1`);
      const keys = variable(format).map((field) => keyOf(format, field));
      expect(keys).toEqual([...new Set(keys)]);
    }
  });

  test('every level has a table or a leaf, an empty entry, and a format for whatever is left', () => {
    for (const [level] of kind.levels.entries()) {
      const here = kind.formats.filter(({ levels }) => levels.includes(level));
      expect(here.some((it) => it.kind === (level === 0 ? 'leaf' : 'table'))).toBe(true);
      expect(here.filter((it) => it.kind === 'none')).not.toEqual([]);
      expect(kind.decode(level, kind.none(level)).none).toBe(true);
    }
  });

  test('levels split the address without gap', () => {
    let next = kind.pageShift;
    for (const { shift, bits } of kind.levels) {
      expect(shift).toBe(next);
      next += bits;
    }
    expect(next).toBe(kind.addressBits);
  });

  test('what is encoded is decoded', () => {
    for (const format of all) {
      let tried = 0;
      fc.assert(
        fc.property(anyValues(format), (values) => {
          let bits = 0n;
          try {
            bits = encode(format, values);
          } catch {
            fc.pre(false); // these values together are another format
          }
          tried++;
          expect(read(format, bits)).toEqual(values);
          for (const level of format.levels) {
            const own = kind.readings(level, bits).find((reading) => reading.format === format);
            // An earlier format may claim the value, by constants of its own.
            if (own) expect(own.address).toBe(addressOf(format, bits));
            else expect(earlier(kind, level, format, bits)).toBe(true);
          }
        }),
        { seed: 4, numRuns: 25 },
      );
      expect(tried).toBeGreaterThanOrEqual(25);
    }
  });

  test('any 64-bit value decodes at any level', () => {
    fc.assert(
      fc.property(anyBits(64n), fc.nat(kind.levels.length - 1), (bits, level) => {
        const { present, fault, format } = kind.decode(level, bits);
        expect(present).toBe(fault === null && ['leaf', 'table'].includes(format.kind));
      }),
      { seed: 4, numRuns: 1000 },
    );
  });
});

/** Is a format that is tried before `format` the first that fits? */
function earlier(kind: TableKind, level: number, format: EntryFormat, bits: bigint): boolean {
  const order = kind.formats;
  const first = kind.decode(level, bits).format;
  return format.only === undefined && order.indexOf(first) < order.indexOf(format);
}
