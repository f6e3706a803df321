import { READ, WRITE, type Cell } from '../machine/cells.ts';
import type { Run } from './run.ts';

/**
 * Puts the machine, at the end of a run, into the state in which some of the run's steps have not happened,
 * and takes that back. What a step would touch there can then be seen by executing it.
 *
 * Mechanism: steps that stay do not depend on steps that are left out, so of each cell the left-out writes
 * are the latest and their old values lead back. Updates commute, so left-out ones may lie below some that
 * stay: sums are corrected by what was added; where an update says no more than its result (adding to a set)
 * this way is closed, and `enter` says so.
 */
export class OtherState {
  private readonly run: Run;
  private readonly changed: Cell[] = [];
  private readonly values: number[] = [];
  private readonly stay: Set<Cell> = new Set();

  constructor(run: Run) {
    this.run = run;
  }

  /** `leftOut[step]` is 1 for the steps, all from `first` on, that are not to have happened. */
  enter(first: number, leftOut: Uint8Array): boolean {
    if (this.backRecorded(first, leftOut) && this.backSilent(first, leftOut)) return true;
    this.leave();
    return false;
  }

  private backRecorded(first: number, leftOut: Uint8Array): boolean {
    const { cells } = this.run.machine;
    const { stay } = this;
    stay.clear();
    for (let at = cells.top - 1, end = this.run.startAt[first] as number; at >= end; at--) {
      const kind = cells.kind[at] as number;
      if (kind === READ) continue;
      const cell = cells.cell[at] as number;
      if (leftOut[cells.event[at] as number] === 0) {
        if (kind !== WRITE) stay.add(cell);
        continue;
      }
      const delta = cells.delta[at] as number;
      if (kind === WRITE || (delta === 0 && !stay.has(cell)))
        this.put(cell, cells.old[at] as number);
      else if (delta !== 0) this.put(cell, cells.peek(cell) - delta);
      else return false;
    }
    return true;
  }

  private backSilent(first: number, leftOut: Uint8Array): boolean {
    const { cells } = this.run.machine;
    const { stay } = this;
    stay.clear();
    for (let at = cells.silentTop - 1, end = this.run.silentAt[first] as number; at >= end; at--) {
      const cell = cells.silentCell[at] as number;
      if (leftOut[cells.silentEvent[at] as number] === 0) stay.add(cell);
      else if (stay.has(cell)) return false;
      else this.put(cell, cells.silentOld[at] as number);
    }
    return true;
  }

  private put(cell: Cell, value: number): void {
    const { values } = this.run.machine.cells;
    this.changed.push(cell);
    this.values.push(values[cell] as number);
    values[cell] = value;
  }

  leave(): void {
    const { values } = this.run.machine.cells;
    while (this.changed.length > 0) {
      values[this.changed.pop() as number] = this.values.pop() as number;
    }
  }
}
