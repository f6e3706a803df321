import { mappings, type Mapping, type Problem, type Work } from '../../src/walk/mappings.ts';
import { merged, type Merge, type Range } from '../../src/walk/ranges.ts';
import { rootTable, type Tables } from '../../src/walk/tables.ts';
import type { Layout, Memory } from './layout.ts';

export function tablesOf({ kind, root }: Layout, memory: Memory): Tables {
  return { kind, memory, root: rootTable(kind, root) };
}

export function work(most = 1e6): Work {
  return { tables: 0, most, stopped: false };
}

export interface Walked {
  readonly ranges: readonly Range[];
  readonly problems: readonly Problem[];
}

export function rangesOf(all: Iterable<Mapping | Problem>, merge: Merge = 'tlb'): Walked {
  const found = [...merged(all, merge)];
  return {
    ranges: found.filter((it) => it.what === 'range'),
    problems: found.filter((it) => it.what === 'problem'),
  };
}

export function walkAll(tables: Tables, merge?: Merge): Walked {
  return rangesOf(mappings(tables, work()), merge);
}
