/**
 * The one place where state lives.
 *
 * Guarantee: everything that two actors can reach is a *cell* of this store (memory words, locks, interrupt
 * flags, loaded roots, what a TLB may hold, grace-period counters), and whatever an executed step reads or
 * writes here becomes that step's footprint by itself. Dependence between steps is then a property of what
 * they did, not of what somebody declared: a failed compare-and-exchange is a read because it only read.
 *
 * Mechanism: a step is bracketed by `begin` and `undo`. `get`, `set` and `add` append to a stack of accesses
 * that is at once the footprint (cell and kind), the journal (old value) and, through `prev`, the history
 * of each cell; undoing a step pops it. `peek` and `poke` are for satellites: cells that are only ever used
 * together with a recorded one (the high half of a word, a shadow), so recording them would say nothing new.
 *
 * What breaks without it: a read that bypasses `get` is a dependence the explorer does not see, hence
 * orders it never tries, hence a false `safe`.
 */

/** Access kinds. Two accesses to a cell commute if they are of the same kind and it is not a write. */
export const READ = 1;
export const WRITE = 2;
/** An update that commutes with other updates of its kind and returns nothing (adding to a set or a counter). */
export const UPDATE = 3;
export type Kind = typeof READ | typeof WRITE | typeof UPDATE;

/** A cell's index. */
export type Cell = number;

/** What guards (the conditions of blocking steps) may ask: the value of a cell, now or in another order. */
export interface Reader {
  get(cell: Cell): number;
}

const NONE = -1;

export function conflicts(a: number, b: number): boolean {
  return a !== b || a === WRITE;
}

function grown(array: Int32Array, size: number): Int32Array {
  const next = new Int32Array(Math.max(size, array.length * 2));
  next.set(array);
  return next;
}

export class Cells implements Reader {
  /** Current value of each cell. */
  values: Int32Array = new Int32Array(256);
  /** Latest access to each cell, an index into the access stack, or -1. */
  head: Int32Array = new Int32Array(256).fill(NONE);
  /** Latest access that is no read, or -1. */
  lastWrite: Int32Array = new Int32Array(256).fill(NONE);
  count = 0;
  readonly tallies: Set<Cell> = new Set();

  /** The access stack. */
  cell: Int32Array = new Int32Array(4096);
  kind: Int32Array = new Int32Array(4096);
  /** The previous access to the same cell, or -1. */
  prev: Int32Array = new Int32Array(4096);
  /** The previous access to the same cell that is no read, or -1. */
  prevWrite: Int32Array = new Int32Array(4096);
  /** The step that made the access: its depth in the current run. */
  event: Int32Array = new Int32Array(4096);
  /** Value before the step's first write or update of the cell. */
  old: Int32Array = new Int32Array(4096);
  /** Sum of what the step's updates added (numeric updates only; see `add`). */
  delta: Int32Array = new Int32Array(4096);
  top = 0;

  /** First access of the step being recorded. */
  start = 0;
  /** Behind the accesses of its condition, which is evaluated first. */
  conditionEnd = 0;
  /** The step being recorded. */
  depth = NONE;

  /** The silent writes: cell, value before, and the step that made them. */
  silentCell: Int32Array = new Int32Array(4096);
  silentOld: Int32Array = new Int32Array(4096);
  silentEvent: Int32Array = new Int32Array(4096);
  silentTop = 0;

  /** A new cell. Cells are never removed: their numbers must not depend on which order is being tried. */
  allocate(initial = 0): Cell {
    const cell = this.count++;
    if (cell >= this.values.length) {
      this.values = grown(this.values, cell + 1);
      const before = this.head.length;
      this.head = grown(this.head, cell + 1);
      this.head.fill(NONE, before);
      this.lastWrite = grown(this.lastWrite, cell + 1);
      this.lastWrite.fill(NONE, before);
    }
    this.values[cell] = initial;
    this.head[cell] = NONE;
    this.lastWrite[cell] = NONE;
    return cell;
  }

  /**
   * A new cell for a count that only goes up: no loop ever finds it as it was. Whoever waits for a change of what
   * a round of a loop has looked at (ops/retry.ts) leaves these out.
   */
  tally(initial = 0): Cell {
    const cell = this.allocate(initial);
    this.tallies.add(cell);
    return cell;
  }

  /** Starts recording the step at `depth`. */
  begin(depth: number): void {
    this.depth = depth;
    this.start = this.top;
    this.conditionEnd = this.top;
  }

  /** Takes back every access from `start` on (and every silent write from `silentStart` on). */
  undo(start: number, silentStart: number): void {
    while (this.silentTop > silentStart) {
      this.silentTop--;
      this.values[this.silentCell[this.silentTop] as number] = this.silentOld[
        this.silentTop
      ] as number;
    }
    while (this.top > start) {
      this.top--;
      const cell = this.cell[this.top] as number;
      if (this.kind[this.top] !== READ) {
        this.values[cell] = this.old[this.top] as number;
        this.lastWrite[cell] = this.prevWrite[this.top] as number;
      }
      this.head[cell] = this.prev[this.top] as number;
    }
    this.start = this.top;
  }

  /** Makes the present values the initial ones: nothing before this point is part of any run. */
  settle(): void {
    this.top = 0;
    this.start = 0;
    this.silentTop = 0;
    this.head.fill(NONE);
    this.lastWrite.fill(NONE);
  }

  private push(cell: Cell, kind: Kind): number {
    const at = this.top++;
    if (at >= this.cell.length) this.grow();
    this.cell[at] = cell;
    this.kind[at] = kind;
    this.prev[at] = this.head[cell] as number;
    this.prevWrite[at] = this.lastWrite[cell] as number;
    this.event[at] = this.depth;
    this.old[at] = this.values[cell] as number;
    this.delta[at] = 0;
    this.head[cell] = at;
    if (kind !== READ) this.lastWrite[cell] = at;
    return at;
  }

  private grow(): void {
    const size = this.cell.length * 2;
    this.cell = grown(this.cell, size);
    this.kind = grown(this.kind, size);
    this.prev = grown(this.prev, size);
    this.prevWrite = grown(this.prevWrite, size);
    this.event = grown(this.event, size);
    this.old = grown(this.old, size);
    this.delta = grown(this.delta, size);
  }

  get(cell: Cell): number {
    const at = this.head[cell] as number;
    if (at < this.start) this.push(cell, READ);
    else if (this.kind[at] === UPDATE) this.kind[at] = WRITE; // it saw the sum, so it no longer commutes
    return this.values[cell] as number;
  }

  set(cell: Cell, value: number): void {
    const at = this.head[cell] as number;
    if (at < this.start) this.push(cell, WRITE);
    else if (this.kind[at] !== WRITE) {
      if (this.kind[at] === READ) {
        this.old[at] = this.values[cell] as number;
        this.lastWrite[cell] = at;
      }
      this.kind[at] = WRITE;
    }
    this.values[cell] = value;
  }

  /** Adds to a counter whose value the step does not look at. */
  add(cell: Cell, amount: number): void {
    const at = this.update(cell);
    this.delta[at] = (this.delta[at] as number) + amount;
    this.values[cell] = (this.values[cell] as number) + amount;
  }

  /**
   * Replaces the value of a cell by one that the step computed from it, where the computation commutes with
   * every other such replacement (adding an element to an interned set). Guards must not read such a cell.
   */
  include(cell: Cell, value: number): void {
    this.update(cell);
    this.values[cell] = value;
  }

  private update(cell: Cell): number {
    const at = this.head[cell] as number;
    if (at < this.start) return this.push(cell, UPDATE);
    if (this.kind[at] === READ) {
      this.old[at] = this.values[cell] as number;
      this.lastWrite[cell] = at;
      this.kind[at] = WRITE;
    }
    return at;
  }

  /** Reads a satellite: unrecorded. */
  peek(cell: Cell): number {
    return this.values[cell] as number;
  }

  /** Writes a satellite: journalled, unrecorded. */
  poke(cell: Cell, value: number): void {
    const old = this.values[cell] as number;
    if (old === value) return;
    const at = this.silentTop++;
    if (at >= this.silentCell.length) {
      this.silentCell = grown(this.silentCell, at + 1);
      this.silentOld = grown(this.silentOld, at + 1);
      this.silentEvent = grown(this.silentEvent, at + 1);
    }
    this.silentCell[at] = cell;
    this.silentOld[at] = old;
    this.silentEvent[at] = this.depth;
    this.values[cell] = value;
  }
}

/**
 * Numbers for values that do not fit a cell: equal values get equal numbers. Numbers depend on the order of
 * first appearance, so they mean identity and nothing else.
 */
export class Interner<T> {
  private readonly ids: Map<string, number> = new Map();
  private readonly items: T[] = [];
  private readonly key: (value: T) => string;

  constructor(key: (value: T) => string) {
    this.key = key;
  }

  id(value: T): number {
    const key = this.key(value);
    let id = this.ids.get(key);
    if (id === undefined) {
      id = this.items.length;
      this.ids.set(key, id);
      this.items.push(value);
    }
    return id;
  }

  at(id: number): T {
    return this.items[id] as T;
  }
}
