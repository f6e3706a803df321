import { explore } from '../../src/explore/explore.ts';
import type { Program, Run } from '../../src/explore/run.ts';
import { READ, UPDATE } from '../../src/machine/cells.ts';

/**
 * Which equivalence class (Mazurkiewicz trace) a finished run belongs to: for every cell, who accessed it in
 * which order, where neighbouring accesses that commute count as simultaneous.
 */
function traceOf(run: Run): string {
  const { cells } = run.machine;
  const ordinals: number[] = [];
  const taken = new Map<number, number>();
  for (let step = 0; step < run.depth; step++) {
    const actor = run.actorAt[step]!;
    const ordinal = taken.get(actor) ?? 0;
    taken.set(actor, ordinal + 1);
    ordinals.push(ordinal);
  }
  const histories: string[] = [];
  for (let cell = 0; cell < cells.count; cell++) {
    const groups: { kind: number; steps: string[] }[] = [];
    for (let at = cells.head[cell]!; at >= 0; at = cells.prev[at]!) {
      const kind = cells.kind[at]!;
      const step = cells.event[at]!;
      const access = `${run.actorAt[step]}.${ordinals[step]}:${run.outcomeAt[step]}`;
      const last = groups.at(-1);
      if (last?.kind === kind && commutes(kind)) last.steps.push(access);
      else groups.push({ kind, steps: [access] });
    }
    if (groups.length > 0) {
      histories.push(`${cell}=${groups.map(({ steps }) => steps.sort().join('+')).join(' ')}`);
    }
  }
  return histories.join('; ');
}

function commutes(kind: number): boolean {
  return kind === READ || kind === UPDATE;
}

/** Counts the traces of a program by trying every interleaving: what a perfect reduction executes. */
export function countTraces(program: Program, maxRuns: number): number | null {
  const traces = new Set<string>();
  const { stopped } = explore(program, {
    engine: 'plain',
    maxRuns,
    ended: (run) => traces.add(traceOf(run)),
  });
  return stopped ? null : traces.size;
}
