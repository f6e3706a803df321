import { compile } from '../arch/decode.ts';
import { tableKindNamed } from '../arch/kinds.ts';
import type { TableKind } from '../arch/table-kind.ts';
import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import { checkRoot } from '../walk/addresses.ts';
import type { Merge } from '../walk/ranges.ts';
import { rootTable, type Table } from '../walk/tables.ts';
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

/** The table that a root option means. */
export function rootOf(kind: TableKind, { register, value }: Root, option: string): Table {
  if (register === null) {
    checkRoot(kind, value, option);
    return rootTable(kind, value);
  }
  const format = kind.roots.find(({ name }) => name.toLowerCase() === register.toLowerCase());
  if (format === undefined) throw noRegister(kind, register);
  const { address, fault, window } = compile(format, kind.pageShift).decode(value);
  if (fault !== null) {
    const text = `0x${value.toString(16)}`;
    throw new GracewalkError('E812', `${option} ${register}=${text}: ${fault}`, {
      help: `gracewalk decode ${kind.name} ${text} --level ${register} shows its bits`,
    });
  }
  checkRoot(kind, address, option);
  return rootTable(kind, address, window);
}

function noRegister(kind: TableKind, register: string): GracewalkError {
  const names = [...new Set(kind.roots.map(({ name }) => name.toLowerCase()))];
  const near = suggest(register, names);
  return new GracewalkError('E812', `${kind.name} has no register '${register}'`, {
    notes: [`its root is in ${names.join(', ')}`],
    help: near === null ? 'or give the address of the table alone' : `did you mean ${near}?`,
  });
}

/** The kinds of tables of an invocation. Refuses combinations that make no sense. */
export function stagesOf(options: WalkOptions): { kind: TableKind; second: TableKind | null } {
  const kind = tableKindNamed(options.arch);
  if (options.upper && kind.upperBits !== 'root') {
    throw new GracewalkError('E115', `--upper is not for ${kind.name}`, {
      notes: ['its one root translates all addresses'],
      help: 'leave --upper out',
    });
  }
  const { stage2, guestRoot } = options;
  if (stage2 === undefined && guestRoot === undefined) return { kind, second: null };
  if (stage2 === undefined || guestRoot === undefined) {
    const [given, other] =
      stage2 === undefined ? ['--guest-root', '--stage2'] : ['--stage2', '--guest-root'];
    throw new GracewalkError('E115', `${given} needs ${other}`, {
      notes: ['guest tables have guest-physical addresses, which a second stage translates'],
      help: '--arch x86_64 --stage2 ept --root EPTP --guest-root CR3',
    });
  }
  const second = tableKindNamed(stage2);
  const wrong = kind.stage === 1 ? (second.stage === 2 ? null : second) : kind;
  if (wrong === null) return { kind, second };
  throw new GracewalkError(
    'E115',
    `${wrong.name} is a ${wrong.stage === 1 ? 'first' : 'second'} stage`,
    {
      notes: ["--arch is the guest's own kind of tables, --stage2 that of the hypervisor"],
      help: '--arch x86_64 --stage2 ept --root EPTP --guest-root CR3',
    },
  );
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
