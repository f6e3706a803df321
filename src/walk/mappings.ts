import type { TableKind } from '../arch/table-kind.ts';
import { accessOf, type Access } from './access.ts';
import { Missing } from './memory.ts';
import {
  entryAddress,
  leafAddress,
  levelOf,
  nextTable,
  readTable,
  type Step,
  type Table,
  type Tables,
} from './tables.ts';

/** One leaf, or the part of it that is one leaf of the second stage, too. */
export interface Mapping {
  readonly what: 'mapping';
  readonly virtual: bigint;
  readonly physical: bigint;
  /** log2 of the size. */
  readonly shift: number;
  readonly access: Access;
  readonly accessed: boolean | null;
  readonly dirty: boolean | null;
}

/** Something in the image that is no page table, or is not there. */
export interface Problem {
  readonly what: 'problem';
  readonly kind: 'missing' | 'refused';
  /** The tables that it is in. */
  readonly tables: TableKind;
  readonly level: number;
  /** Of the entry that is refused, or the first missing byte. */
  readonly at: bigint;
  /** What stands there. */
  readonly bits: bigint | null;
  readonly why: string;
  /** The first address that is translated by it. */
  readonly virtual: bigint;
}

/** How much of the tables was looked at. A table that is used many times counts many times. */
export interface Work {
  tables: number;
  /** The walk ends before it looks at more. */
  readonly most: number;
  /** It has ended so. */
  stopped: boolean;
}

interface Frame {
  readonly table: Table;
  readonly view: DataView;
  readonly base: bigint;
  index: number;
}

/**
 * Every mapping in ascending order of addresses, without those bits of an address that tables do not
 * translate. It keeps one table per level, so it ends however entries point at each other: a table that
 * points to itself is walked to the depth of the tree, as hardware does.
 */
export function* mappings(tables: Tables, work: Work): Generator<Mapping | Problem> {
  const { kind } = tables;
  const little = kind.byteOrder === 'little';
  const empties = kind.levels.map((_, level) => emptyEntry(kind, level));
  const stack: Frame[] = [];

  const enter = (table: Table, base: bigint): Problem | null => {
    const view = readTable(tables, table);
    if (view instanceof Missing) return missing(kind, table, view, base);
    stack.push({ table, view, base, index: table.first });
    return null;
  };

  work.tables++;
  const atRoot = enter(tables.root, 0n);
  if (atRoot) yield atRoot;
  for (let frame = stack.at(-1); frame; frame = stack.at(-1)) {
    const { table, view, base } = frame;
    const [emptyFirst, emptySecond] = empties[table.level] as readonly [number, number];
    // Most entries of most tables are empty; two 32-bit words are compared faster than one of 64.
    while (frame.index < table.end) {
      const offset = (frame.index - table.first) * 8;
      if (view.getUint32(offset) !== emptyFirst || view.getUint32(offset + 4) !== emptySecond)
        break;
      frame.index++;
    }
    if (frame.index >= table.end) {
      stack.pop();
      continue;
    }
    const index = frame.index++;
    const bits = view.getBigUint64((index - table.first) * 8, little);
    const entry = kind.decode(table.level, bits);
    if (!entry.present && entry.fault === null) continue;
    const { shift } = levelOf(kind, table.level);
    const virtual = base + (BigInt(index) << BigInt(shift));
    const step: Step = { level: table.level, index, at: entryAddress(table, index), bits, entry };
    if (!entry.present) {
      yield refused(kind, step, entry.fault ?? '', virtual);
    } else if (entry.table) {
      if (work.tables >= work.most) {
        work.stopped = true;
        return;
      }
      const next = nextTable(kind, table, entry);
      if (typeof next === 'string') {
        yield refused(kind, step, next, virtual);
        continue;
      }
      work.tables++;
      const problem = enter(next, virtual);
      if (problem) yield problem;
    } else {
      yield {
        what: 'mapping',
        virtual,
        physical: leafAddress(entry, virtual),
        shift,
        access: table.access & accessOf(kind, entry),
        accessed: entry.accessed,
        dirty: entry.dirty,
      };
    }
  }
}

/** What most entries of a level are, as two words in the order they stand in memory, most significant first. */
function emptyEntry(kind: TableKind, level: number): readonly [number, number] {
  const view = new DataView(new ArrayBuffer(8));
  // Where the kernel marks its empty entries, those of others are zero and simply take the longer way.
  view.setBigUint64(0, kind.none(level), kind.byteOrder === 'little');
  return [view.getUint32(0), view.getUint32(4)];
}

export function refused(kind: TableKind, step: Step, why: string, virtual: bigint): Problem {
  const { level, at, bits } = step;
  return { what: 'problem', kind: 'refused', tables: kind, level, at, bits, why, virtual };
}

export function missing(
  kind: TableKind,
  { level }: Table,
  { address, why }: Missing,
  virtual: bigint,
): Problem {
  return {
    what: 'problem',
    kind: 'missing',
    tables: kind,
    level,
    at: address,
    bits: null,
    why,
    virtual,
  };
}
