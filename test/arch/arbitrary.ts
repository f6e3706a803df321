import fc from 'fast-check';
import {
  keyOf,
  variable,
  width,
  type EntryFormat,
  type Values,
} from '../../src/arch/entry-format.ts';

/** Values of `width` bits: with few bits set, with few clear, and all between, as entries have them. */
export function anyBits(bits: bigint): fc.Arbitrary<bigint> {
  const max = (1n << bits) - 1n;
  const any = fc.bigInt(0n, max);
  return fc.oneof(
    any,
    fc.tuple(any, any, any).map(([a, b, c]) => a & b & c),
    fc.tuple(any, any, any).map(([a, b, c]) => a | b | c),
    fc.constantFrom(0n, max),
  );
}

/** Values for all fields of a format. */
export function anyValues(format: EntryFormat): fc.Arbitrary<Values> {
  return fc.record(
    Object.fromEntries(variable(format).map((f) => [keyOf(format, f), anyBits(width(f))])),
  );
}
