import { GracewalkError } from '../base/errors.ts';
import type { TableKind } from '../arch/table-kind.ts';
import { levelOf } from './tables.ts';

/**
 * Tables translate the lower bits of an address. The upper ones must be copies of the highest translated
 * bit, or zero, or all alike: then they choose between two roots, of which one is given here.
 */

const ALL = (1n << 64n) - 1n;

/** The part of an address that the tables translate. Refuses one that hardware does not translate. */
export function translated(kind: TableKind, address: bigint, what: string): bigint {
  const width = BigInt(kind.addressBits);
  const upper = address >> width;
  const ones = ALL >> width;
  const low = address & ((1n << width) - 1n);
  const negative = low >> (width - 1n) === 1n;
  const fits =
    kind.upperBits === 'zero'
      ? upper === 0n
      : kind.upperBits === 'sign'
        ? upper === (negative ? ones : 0n)
        : upper === 0n || upper === ones;
  if (fits) return low;
  const { addressBits, name } = kind;
  const top = addressBits - 1;
  const [rule, meant] = {
    zero: [`bits 63..${addressBits} must be zero`, low],
    sign: [`bits 63..${addressBits} must be copies of bit ${top}`, full(kind, low, false)],
    root: [`bits 63..${addressBits} must be all 0 or all 1`, low],
  }[kind.upperBits] as [string, bigint];
  throw new GracewalkError('E812', `${what} 0x${address.toString(16)} is not canonical`, {
    notes: [`${name} translates ${addressBits} bits: ${rule}`],
    help: `did you mean 0x${meant.toString(16)}?`,
  });
}

/** The whole address of which `low` is translated. `upper`: by the tables of the upper half. */
export function full(kind: TableKind, low: bigint, upper: boolean): bigint {
  const width = BigInt(kind.addressBits);
  const set = kind.upperBits === 'sign' ? low >> (width - 1n) === 1n : upper;
  return set ? low | (ALL ^ ((1n << width) - 1n)) : low;
}

/** Refuses an address where no top-level table can begin. */
export function checkRoot(kind: TableKind, address: bigint, option: string): void {
  const { align, title } = levelOf(kind, kind.levels.length - 1);
  if (address % BigInt(align) === 0n) return;
  const register = kind.roots[0]?.name.toLowerCase() ?? 'root';
  const text = `0x${address.toString(16)}`;
  throw new GracewalkError('E812', `${option} ${text} is not aligned`, {
    notes: [`a ${title} of ${kind.name} begins at a multiple of 0x${align.toString(16)}`],
    help: `if it is the value of a register: ${option} ${register}=${text}`,
  });
}
