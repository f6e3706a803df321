import { GracewalkError } from '../base/errors.ts';
import type { Merge } from '../walk/ranges.ts';
import type { JsonForm } from './options.ts';
import type { CommonOptions } from './session.ts';

export interface WalkOptions extends CommonOptions {
  readonly arch: string;
  readonly root: Root;
  readonly stage2?: string;
  readonly guestRoot?: Root;
  readonly upper?: boolean;
  readonly base?: bigint;
  readonly merge: Merge;
  readonly limit: WalkLimits;
  readonly json?: JsonForm;
}

/** The address of the top-level table, or the value of a register that has it. */
export interface Root {
  readonly register: string | null;
  readonly value: bigint;
}

export const MERGES: readonly Merge[] = ['tlb', 'mem', 'none'];

const MOST = (1n << 64n) - 1n;

/** A parser of an option that takes an address. */
export function parseAddress(option: string): (text: string) => bigint {
  return (text) => {
    if (/^(0x[0-9a-f]+|\d+)$/i.test(text) && BigInt(text) <= MOST) return BigInt(text);
    const hex = /^[0-9a-f]{1,16}$/i.test(text);
    throw new GracewalkError('E107', `bad ${option} '${text}'`, {
      notes: ['an address is a number below 2^64, decimal or hexadecimal with 0x'],
      ...(hex ? { help: `did you mean 0x${text}?` } : {}),
    });
  };
}

/** `0x1000`, or `cr3=0x1003`. */
export function parseRoot(option: string): (text: string) => Root {
  const address = parseAddress(option);
  return (text) => {
    const [, register, value] = /^([a-z]\w*)=(.*)$/i.exec(text) ?? [];
    if (register === undefined) return { register: null, value: address(text) };
    return { register, value: address(value ?? '') };
  };
}

export interface WalkLimits {
  readonly tables: number;
  readonly pages: number;
  readonly ranges: number;
}

/** 2 TiB of pages of 4 KiB; without a bound, tables that share tables might print for years. */
export const USUAL_LIMITS: WalkLimits = { tables: 1e6, pages: 1e9, ranges: Infinity };

const LIMIT_NAMES = ['tables', 'pages', 'ranges'] as const;

/** `tables=1e6,ranges=1000`. */
export function parseWalkLimits(text: string, previous: WalkLimits): WalkLimits {
  const limits = { ...previous };
  for (const part of text.split(',')) {
    const [, name = '', amount = ''] = /^ *(\w*)=(\d+(?:e\d+)?) *$/.exec(part) ?? [];
    const known = LIMIT_NAMES.find((it) => it === name);
    if (known === undefined || Number(amount) < 1) {
      throw new GracewalkError('E107', `bad --limit '${text}'`, {
        notes: [`'${part}' is no limit`],
        help: 'limits of a walk are tables=1e6, pages=1e9, ranges=1000',
      });
    }
    limits[known] = Number(amount);
  }
  return limits;
}
