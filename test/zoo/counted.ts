import type { Program } from '../../src/explore/run.ts';

/** A program whose executions other checkers have counted. */
export interface Counted {
  readonly name: string;
  readonly params: readonly number[];
  readonly build: () => Program;
  /** Complete executions under sequential consistency. */
  readonly runs: number;
  /** Complete executions under x86-TSO; null if no other checker has counted them. */
  readonly tso: number | null;
  readonly deadlocks: number;
  /** Too many executions for a quick test. */
  readonly slow: boolean;
  /** Too many even for a slow one: only the benchmark runs it. */
  readonly benchOnly: boolean;
}

/** More executions than this are not for a quick test. */
export const SLOW = 10_000;
const BENCH_ONLY = 140_000;

export function counted(
  name: string,
  params: readonly number[],
  build: () => Program,
  runs: number,
  deadlocks = 0,
): Counted {
  return {
    name,
    params,
    build,
    runs,
    tso: runs,
    deadlocks,
    slow: runs > SLOW,
    benchOnly: runs > BENCH_ONLY,
  };
}

/** One row per list of parameters: `[...params, runs]`. */
export function family(
  name: string,
  make: (...params: number[]) => Program,
  ...rows: readonly (readonly number[])[]
): Counted[] {
  return rows.map((row) => {
    const params = row.slice(0, -1);
    return counted(name, params, () => make(...params), row.at(-1)!);
  });
}

/** Rows whose counts under x86-TSO are these, not the same as above. */
export function underTso(rows: readonly Counted[], ...counts: (number | null)[]): Counted[] {
  return rows.map((row, at) => ({ ...row, tso: counts[at] ?? null }));
}

/** Rows that nobody has counted under x86-TSO. */
export function scOnly(rows: readonly Counted[]): Counted[] {
  return underTso(rows);
}

/** `msq(3,1)` */
export function title({ name, params }: Counted): string {
  return params.length > 0 ? `${name}(${params.join()})` : name;
}
