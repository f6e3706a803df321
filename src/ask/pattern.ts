import type { ExecutedStep, StepCheck } from '../explore/run.ts';
import type { Cell as MachineCell } from '../machine/cells.ts';
import type { Machine } from '../machine/machine.ts';
import { VIOLATION_KINDS, type ViolationKind } from '../machine/violation.ts';
import type { Row } from './diagram.ts';
import { signsOf, type Sign } from './signs.ts';

/** One thing that must be seen: a row, or a part of one (`<schedules out; sets KVM_VCPU_PREEMPTED>` is two). */
export interface Item {
  readonly row: Row;
  /** How messages call it: `call_rcu()`, `<schedules back in>`. */
  readonly title: string;
  /** Null: any column (a check's remark stands wherever the diagram was). */
  readonly column: string | null;
  readonly matches: (sign: Sign) => boolean;
  /** The same without what was observed: the step is there, its value may be another. */
  readonly resembles: (sign: Sign) => boolean;
}

/**
 * Does a run follow a question? The items must be seen in their order, and anything may happen in between.
 *
 * How far a run has come is the number of items seen, taking each at its first opportunity. That is enough: if
 * the items can be found in a run at all, then also so, because an item found earlier leaves more of the run
 * for the rest, and whether a step matches an item depends on nothing but the two.
 *
 * Why reduced search may be trusted with it: reduction promises to try every order of steps that depend on
 * each other, not of others. So the number is a recorded cell. Each step that could match any item reads it,
 * and the one that moves on writes it. Steps whose order matters to the question therefore depend on each
 * other, and every order of them is explored.
 *
 * In the same cell: whether the run has *strayed*, that is, whether somebody has taken the step of a row
 * before its turn: of a row that happens once in a run, or of the next row of his column. Such a run may still
 * follow the question (the step may occur again), but what stops a run that did not stray is what people who
 * draw diagrams want to know.
 */
export class Pattern {
  readonly items: readonly Item[];
  private readonly cell: MachineCell;
  /** What `straight` says; set where `cell` becomes odd, so a satellite. */
  private readonly seenBefore: MachineCell;
  private readonly machine: Machine;
  /** Per item: in which column's order it is next, as lists of indices. */
  private readonly byColumn: Map<string, readonly number[]>;
  /** Names of the actors whose steps have matched each item, whether or not it was its turn. */
  readonly actors: readonly Set<string>[];

  private readonly once: readonly boolean[];

  /** `once`: which items happen at most once in a run, as far as runs have shown. */
  constructor(machine: Machine, items: readonly Item[], once: readonly boolean[] = []) {
    this.machine = machine;
    this.items = items;
    this.once = once;
    this.cell = machine.cells.tally();
    this.seenBefore = machine.cells.tally();
    this.byColumn = new Map();
    for (const [at, { column }] of items.entries()) {
      if (column !== null) this.byColumn.set(column, [...(this.byColumn.get(column) ?? []), at]);
    }
    this.actors = items.map(() => new Set());
  }

  /** Takes over what another search has seen of the same items. */
  learn(other: Pattern): void {
    other.actors.forEach((names, at) => names.forEach((name) => this.actors[at]?.add(name)));
  }

  /** How many items the run has seen so far. */
  get seen(): number {
    return this.machine.cells.peek(this.cell) >> 1;
  }

  /** How many it had seen when it strayed, if it has. */
  get straight(): number {
    return this.strayed ? this.machine.cells.peek(this.seenBefore) : this.seen;
  }

  get strayed(): boolean {
    return (this.machine.cells.peek(this.cell) & 1) !== 0;
  }

  get isComplete(): boolean {
    return this.seen === this.items.length;
  }

  readonly check: StepCheck = (machine, step) => {
    const signs = signsOf(machine, step).filter((sign) => this.concerns(step, sign));
    if (signs.length === 0) return;
    const { cells } = machine;
    const before = cells.get(this.cell);
    let seen = before >> 1;
    let strayed = before & 1;
    for (const sign of signs) {
      if (this.due(seen, step, sign)) seen++;
      else if (strayed === 0 && this.isEarly(seen, step, sign)) {
        strayed = 1;
        cells.poke(this.seenBefore, seen);
      }
    }
    const after = seen * 2 + strayed;
    if (after !== before) cells.set(this.cell, after);
  };

  /** Could the sign match any item, whether or not it is its turn? */
  private concerns({ who }: ExecutedStep, sign: Sign): boolean {
    let concerns = false;
    for (const [at, item] of this.items.entries()) {
      if (item.column !== null && item.column !== who.column) continue;
      if (!item.matches(sign)) continue;
      this.actors[at]?.add(who.name);
      concerns = true;
    }
    return concerns;
  }

  private due(seen: number, { who }: ExecutedStep, sign: Sign): boolean {
    const item = this.items[seen];
    if (!item || (item.column !== null && item.column !== who.column)) return false;
    return item.matches(sign);
  }

  /** Is it a later row, and not yet its turn? */
  private isEarly(seen: number, { who }: ExecutedStep, sign: Sign): boolean {
    const later = this.byColumn.get(who.column)?.filter((at) => at >= seen) ?? [];
    return later.some((at, nth) => {
      if (at === seen || (nth > 0 && this.once[at] !== true)) return false;
      return this.items[at]?.matches(sign) === true;
    });
  }
}

/** The kind that the question asks for, which the diagram of its run must mark. */
export function violationAskedFor(items: readonly Item[]): ViolationKind | null {
  const kinds = items.flatMap(({ row }) => ('violation' in row.cell ? [row.cell.violation] : []));
  return VIOLATION_KINDS.find((kind) => kinds.includes(kind)) ?? null;
}
