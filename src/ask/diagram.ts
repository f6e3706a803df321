/**
 * A CPU0/CPU1 diagram as data: what somebody asks about. `read-diagram.ts` makes it of text in columns or
 * tagged; `pattern.ts` says when a run follows it.
 */
export interface Diagram {
  /** The columns of its header, or the actors of its tags, in the order in which they appear. */
  readonly columns: readonly string[];
  /** Oldest first, elisions and remarks included. */
  readonly rows: readonly Row[];
  /** The line (from 1) of the next diagram in the same text; null if there is none. */
  readonly next: number | null;
}

export interface Row {
  /** 1-based. */
  readonly n: number;
  readonly column: string;
  readonly place: Place;
  /** As it was typed, on one line. */
  readonly text: string;
  readonly cell: Cell;
}

/** Where a row stands in the text: its line, and where in the line it begins (both from 1). */
export interface Place {
  readonly line: number;
  readonly at: number;
  /** The whole line, tabs expanded, quotes taken off. */
  readonly source: string;
}

export type Cell =
  /** `...`, also with prose between dots: nothing is said about what happens here. */
  | { readonly is: 'elision' }
  /** `[ ... ]`: a remark, unless it ends in `// !!! violation`. */
  | { readonly is: 'remark'; readonly violation: string | null }
  /** `foo()`, `x = foo(y);`, `foo() / bar()`, `if (foo())`. */
  | {
      readonly is: 'call';
      /** Any of these. */
      readonly names: readonly string[];
      /** It ends in a semicolon: it has happened, where `foo()` alone only begins. */
      readonly done: boolean;
      /** What it returned is true (or is not): the call is the condition of an `if`. */
      readonly truth: boolean | null;
      readonly value: string | null;
      readonly violation: string | null;
    }
  /** `if (state & KVM_VCPU_PREEMPTED)`: somebody finds all of these in a value. */
  | { readonly is: 'condition'; readonly constants: readonly string[] }
  /** `<schedules out; sets KVM_VCPU_PREEMPTED>`: these, one after the other. */
  | {
      readonly is: 'event';
      readonly parts: readonly string[];
      readonly value: string | null;
      readonly violation: string | null;
    };
