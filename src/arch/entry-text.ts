import type { Decoded } from './decode.ts';
import { keyOf, valueOf, variable, type EntryFormat, type Field } from './entry-format.ts';

/** What an entry says, as one line and as a list: views of the field list. */

/** `2 MiB page at 0x200000: NX G D A RW`, and why hardware refuses it, if it does. */
export function entryText(entry: Decoded, bits: bigint): string {
  const { format, address, fault } = entry;
  const placed = format.fields.some((field) => field.address !== undefined);
  const head = placed ? `${format.name} at 0x${address.toString(16)}` : format.name;
  const words = setFields(format, bits).map((field) => fieldText(format, field, bits));
  const text = words.length === 0 ? head : `${head}: ${words.join(' ')}`;
  return fault === null ? text : `${text}; faults: ${fault}`;
}

/** Fields besides the address that say something: not zero, or with a name for their zero. */
export function setFields(format: EntryFormat, bits: bigint): Field[] {
  return variable(format).filter((field) => {
    const value = valueOf(field, bits);
    const named = field.values?.[Number(value)];
    return field.address === undefined && named !== '' && (value !== 0n || named !== undefined);
  });
}

/** `NX`, `type=3`, `MT=6 (WB)`. */
export function fieldText(format: EntryFormat, field: Field, bits: bigint): string {
  const name = keyOf(format, field);
  const value = valueOf(field, bits);
  const named = field.values?.[Number(value)];
  if (named !== undefined) return `${name}=${numberText(value)} (${named})`;
  return field.high === field.low ? name : `${name}=${numberText(value)}`;
}

export function numberText(value: bigint): string {
  return value < 10n ? String(value) : `0x${value.toString(16)}`;
}
