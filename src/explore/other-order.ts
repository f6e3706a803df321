import { UPDATE, WRITE, type Cell, type Reader } from '../machine/cells.ts';
import type { Run } from './run.ts';

/** The first of some steps. */
export function earliest(steps: readonly number[]): number {
  let first = steps[0] as number;
  for (let at = 1; at < steps.length; at++) first = Math.min(first, steps[at] as number);
  return first;
}

/**
 * The values that cells would have if some steps, and all that depends on them, had not happened. Found in
 * the history of each cell: writes of the same cell are ordered, so the left-out ones are its latest.
 */
export class OtherOrder implements Reader {
  private readonly run: Run;
  private readonly leftOut: (step: number, without: readonly number[]) => boolean;
  private steps: readonly number[] = [];
  private first = 0;
  /** What has been asked for. */
  readonly read: Cell[] = [];

  constructor(run: Run, leftOut: (step: number, without: readonly number[]) => boolean) {
    this.run = run;
    this.leftOut = leftOut;
  }

  /** Nothing has been asked yet. */
  forget(): void {
    while (this.read.length > 0) this.read.pop();
  }

  without(steps: readonly number[]): void {
    this.steps = steps;
    this.first = earliest(steps);
    this.forget();
  }

  get(cell: Cell): number {
    this.read.push(cell);
    const { cells } = this.run.machine;
    let value = cells.peek(cell);
    for (let at = cells.lastWrite[cell] as number; at >= 0; at = cells.prevWrite[at] as number) {
      const step = cells.event[at] as number;
      if (step < this.first) break;
      const kind = cells.kind[at] as number;
      const leftOut = at >= cells.start || this.leftOut(step, this.steps);
      if (!leftOut) {
        if (kind === WRITE) break;
      } else if (kind === WRITE) value = cells.old[at] as number;
      else if (kind === UPDATE) value -= cells.delta[at] as number;
    }
    return value;
  }
}
