import type { Decoded } from '../arch/decode.ts';
import type { Level, TableKind } from '../arch/table-kind.ts';
import { EVERYTHING, accessOf, type Access } from './access.ts';
import { Missing, type PhysicalMemory } from './memory.ts';

/** A tree of page tables in memory, and the address that a walk begins with. */
export interface Tables {
  readonly kind: TableKind;
  readonly memory: PhysicalMemory;
  readonly root: Table;
}

/** One table: where it is, which of its entries exist, and what was allowed on the way to it. */
export interface Table {
  readonly level: number;
  readonly address: bigint;
  readonly first: number;
  /** One past the last. */
  readonly end: number;
  readonly access: Access;
}

/** One entry that a walk has read. */
export interface Step {
  readonly level: number;
  readonly index: number;
  /** Where the entry is. */
  readonly at: bigint;
  readonly bits: bigint;
  readonly entry: Decoded;
}

/** How a walk ends. `shift`: the answer is the same in the aligned 2^shift bytes around the address. */
export type End =
  | {
      readonly kind: 'mapped';
      readonly shift: number;
      readonly physical: bigint;
      readonly access: Access;
    }
  | { readonly kind: 'absent'; readonly shift: number; readonly why: string }
  /** The hardware faults because of what stands there, not because nothing does. */
  | { readonly kind: 'refused'; readonly shift: number; readonly why: string; readonly step: Step }
  | {
      readonly kind: 'missing';
      readonly shift: number;
      readonly missing: Missing;
      readonly table: Table;
    };

export function levelOf(kind: TableKind, level: number): Level {
  const found = kind.levels[level];
  if (found === undefined) throw new RangeError(`${kind.name} has no level ${level}`);
  return found;
}

export function rootTable(
  kind: TableKind,
  address: bigint,
  window: Decoded['window'] = null,
): Table {
  const level = kind.levels.length - 1;
  const { bits } = levelOf(kind, level);
  const [first, end] = window ?? [0, 2 ** bits];
  return { level, address, first, end: Math.min(end, 2 ** bits), access: EVERYTHING };
}

/** The table that an entry points to, or why hardware cannot go on to it. */
export function nextTable(kind: TableKind, table: Table, entry: Decoded): Table | string {
  const level = table.level - 1;
  const { bits, title } = levelOf(kind, level);
  const [first, end] = entry.window ?? [0, 2 ** bits];
  if (end > 2 ** bits) {
    return `it says that the next table has ${end} entries; a ${title} of ${kind.name} has ${2 ** bits}`;
  }
  const access = table.access & accessOf(kind, entry);
  return { level, address: entry.address, first, end, access };
}

const ENTRY_BYTES = 8;

export function entryAddress(table: Table, index: number): bigint {
  return table.address + BigInt(index * ENTRY_BYTES);
}

/** Which entry of a table translates an address. */
export function indexIn(kind: TableKind, table: Table, address: bigint): number {
  const { shift, bits } = levelOf(kind, table.level);
  return Number((address >> BigInt(shift)) & BigInt(2 ** bits - 1));
}

/** All entries of a table that exist, from the first on. */
export function readTable({ memory }: Tables, table: Table): DataView | Missing {
  const bytes = Math.max(0, table.end - table.first) * ENTRY_BYTES;
  return memory.read(entryAddress(table, table.first), bytes);
}

/** Where a leaf maps the page that begins `offset` bytes into its level's aligned range. */
export function leafAddress(entry: Decoded, virtual: bigint): bigint {
  // One of a run of equal entries has the address of the whole run.
  if (entry.leafShift === null) return entry.address;
  return entry.address + (virtual & ((1n << BigInt(entry.leafShift)) - 1n));
}

/** The walk of one address from a table on, entry by entry. */
export function walkFrom(tables: Tables, from: Table, address: bigint, steps: Step[] = []): End {
  for (let table = from; ;) {
    const next = stepFrom(tables, table, address, steps);
    if ('kind' in next) return next;
    table = next;
  }
}

/** One entry of that walk: the table that it points to, or the end. */
export function stepFrom(
  { kind, memory }: Tables,
  table: Table,
  address: bigint,
  steps: Step[],
): Table | End {
  const { shift } = levelOf(kind, table.level);
  const index = indexIn(kind, table, address);
  if (index < table.first || index >= table.end) {
    const has = table.first < table.end ? `${table.first} to ${table.end - 1}` : 'none';
    return { kind: 'absent', shift, why: `no entry ${index}: the table has ${has}` };
  }
  const at = entryAddress(table, index);
  const view = memory.read(at, ENTRY_BYTES);
  if (view instanceof Missing) return { kind: 'missing', shift, missing: view, table };
  const bits = view.getBigUint64(0, kind.byteOrder === 'little');
  const entry = kind.decode(table.level, bits);
  const step = { level: table.level, index, at, bits, entry };
  steps.push(step);
  if (!entry.present) return notPresent(step, shift);
  if (entry.table) {
    const next = nextTable(kind, table, entry);
    return typeof next === 'string' ? { kind: 'refused', shift, why: next, step } : next;
  }
  const base = (address >> BigInt(shift)) << BigInt(shift);
  const physical = leafAddress(entry, base) + (address - base);
  return { kind: 'mapped', shift, physical, access: table.access & accessOf(kind, entry) };
}

function notPresent(step: Step, shift: number): End {
  const { fault, format } = step.entry;
  if (fault === null) return { kind: 'absent', shift, why: format.name };
  return { kind: 'refused', shift, why: fault, step };
}
