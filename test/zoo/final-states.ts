import { explore, type Exploration, type ExploreOptions } from '../../src/explore/explore.ts';
import type { Program, Run } from '../../src/explore/run.ts';

/** Everything that can be seen when nobody takes steps any more: all cells, and what each actor returned. */
function finalState(run: Run): string {
  const { cells } = run.machine;
  const results = run.nodes.map((node) => (node?.op === null ? String(node.result) : 'unfinished'));
  return `${cells.values.subarray(0, cells.count).join()} | ${results.join(' ')}`;
}

export interface Explored extends Exploration {
  readonly finals: readonly string[];
}

/** Explores and collects the set of final states, sorted. */
export function exploreFinals(program: Program, options: ExploreOptions = {}): Explored {
  const finals = new Set<string>();
  const exploration = explore(program, { ...options, ended: (run) => finals.add(finalState(run)) });
  return { ...exploration, finals: [...finals].sort() };
}
