import { Run, type Program, type Schedule } from '../explore/run.ts';
import { conflicts } from '../machine/cells.ts';

/**
 * What comes before what in a run: pairs of steps of different columns that touch the same thing, one of them
 * writing, so that the other order would be another run. Pairs that follow from others are left out. Steps are
 * numbered from 1, as in a diagram.
 */
export function orderOf(program: Program, schedule: Schedule): [number, number][] {
  const run = new Run(program);
  schedule.actors.forEach((local, at) =>
    run.execute(run.created()[local] as number, schedule.outcomes[at] as number),
  );
  const before = followed(run);
  const pairs: [number, number][] = [];
  for (let step = 0; step < run.depth; step++) {
    for (const other of meetings(run, step)) {
      const between = [...(before[step] as Set<number>)].some((at) => before[at]?.has(other));
      if (!between) pairs.push([other + 1, step + 1]);
    }
  }
  return pairs;
}

function columnAt({ machine, actorAt }: Run, step: number): string {
  return machine.actor(actorAt[step] as number).column;
}

/** Earlier steps of other columns that the step must not overtake. */
function meetings(run: Run, step: number): Set<number> {
  const { cells } = run.machine;
  const end = step + 1 < run.depth ? (run.startAt[step + 1] as number) : cells.top;
  const others = new Set<number>();
  for (let access = run.startAt[step] as number; access < end; access++) {
    for (let at = cells.prev[access] as number; at >= 0; at = cells.prev[at] as number) {
      const other = cells.event[at] as number;
      if (columnAt(run, other) === columnAt(run, step)) continue;
      if (conflicts(cells.kind[at] as number, cells.kind[access] as number)) others.add(other);
    }
  }
  return others;
}

/** For each step, all steps that it cannot come before: of its own column, or that it meets, or that those do. */
function followed(run: Run): Set<number>[] {
  const all: Set<number>[] = [];
  for (let step = 0; step < run.depth; step++) {
    const before = meetings(run, step);
    for (let at = 0; at < step; at++) {
      if (columnAt(run, at) === columnAt(run, step)) before.add(at);
    }
    for (const at of before) for (const earlier of all[at] ?? []) before.add(earlier);
    all.push(before);
  }
  return all;
}
