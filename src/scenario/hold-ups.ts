import { waiting } from '../explore/ends.ts';
import type { Run } from '../explore/run.ts';
import { READ, type Cell } from '../machine/cells.ts';
import type { Blocker } from '../machine/op.ts';
import type { Step } from './result.ts';

/**
 * Of a run in which nobody can go on, the steps (from 0) without which it cannot be understood: the last one of
 * everybody who is stuck, and those by which others hold him up. They are no conflict with a step of another
 * column, because what waits for them was never executed.
 */
export function holdUps(run: Run, steps: readonly Step[]): ReadonlySet<number> {
  const found: number[] = [];
  for (const { index } of waiting(run)) {
    const { name } = run.machine.actor(index);
    found.push(steps.findLastIndex((step) => step.actor === name && !step.ghost));
    const op = run.nodes[index]?.op;
    const blockers = op?.def.blockers?.(run.machine, run.machine.actor(index), op.args) ?? [];
    found.push(...blockers.map((blocker) => beginning(run, blocker)));
  }
  return new Set(found.filter((step) => step >= 0));
}

/** The step that has begun what blocks; -1 if it began before the run. */
function beginning(run: Run, blocker: Blocker): number {
  const { machine } = run;
  switch (blocker.holds) {
    case 'lock':
    case 'srcu section':
      return lastChange(run, blocker.cell, blocker.actor);
    case 'section':
      return lastChange(run, machine.cellsOf(blocker.actor).rcuNesting, blocker.actor);
    case 'interrupts':
      return lastChange(run, machine.cpu(blocker.cpu).irqOff);
    case 'atomic':
      return lastChange(run, machine.cpu(blocker.cpu).atomic);
    case 'end':
      return -1; // he is stuck himself, or waits for a CPU
  }
}

function lastChange({ actorAt, machine: { cells } }: Run, cell: Cell, actor?: number): number {
  for (let at = cells.head[cell] as number; at >= 0; at = cells.prev[at] as number) {
    const step = cells.event[at] as number;
    if (cells.kind[at] !== READ && (actor === undefined || actorAt[step] === actor)) return step;
  }
  return -1;
}
