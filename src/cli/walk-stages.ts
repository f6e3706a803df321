import { compile } from '../arch/decode.ts';
import { tableKindNamed } from '../arch/kinds.ts';
import type { TableKind } from '../arch/table-kind.ts';
import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import { checkRoot } from '../walk/addresses.ts';
import { rootTable, type Table } from '../walk/tables.ts';
import type { Root, WalkOptions } from './walk-options.ts';

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
