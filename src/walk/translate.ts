import type { SecondStage } from './second-stage.ts';
import {
  entryAddress,
  indexIn,
  stepFrom,
  walkFrom,
  type End,
  type Step,
  type Tables,
} from './tables.ts';

/** The walk of one address, level by level. */
export interface Translation {
  readonly visits: readonly Visit[];
  /** Of the tables themselves: with a second stage, `physical` is guest-physical. */
  readonly end: End;
  /** The second stage's walk of the result. */
  readonly second: Walk | null;
}

/** One entry of the walk. */
export interface Visit {
  readonly at: bigint;
  /** Null if the entry could not be read. */
  readonly step: Step | null;
  /** The second stage's walk of its address. */
  readonly second: Walk | null;
}

export interface Walk {
  readonly steps: readonly Step[];
  readonly end: End;
}

/** Walks `address`, without its untranslated bits; each table access and the result through `second`. */
export function translate(
  tables: Tables,
  address: bigint,
  second: SecondStage | null = null,
): Translation {
  const walkOf = (physical: bigint): Walk | null => {
    if (second === null) return null;
    const steps: Step[] = [];
    return { steps, end: walkFrom(second.tables, second.tables.root, physical, steps) };
  };
  const visits: Visit[] = [];
  for (let table = tables.root; ;) {
    const at = entryAddress(table, indexIn(tables.kind, table, address));
    const steps: Step[] = [];
    const next = stepFrom(tables, table, address, steps);
    visits.push({ at, step: steps[0] ?? null, second: walkOf(at) });
    if ('kind' in next) {
      const result = next.kind === 'mapped' ? walkOf(next.physical) : null;
      return { visits, end: next, second: result };
    }
    table = next;
  }
}
