import type { Cell, Reader } from './cells.ts';
import type { Machine } from './machine.ts';
import type { Actor } from './actor.ts';

/**
 * What an op has to do with the stores that its CPU has buffered. Under `sc` there are none and all of it
 * means nothing; under `tso`:
 *
 *  - `none`: nothing. A load, which may overtake earlier stores, or something that is no memory access.
 *  - `store`: what others see of it goes through the buffer, behind the stores before it (`Machine.later`).
 *  - `full`: it happens only once the buffer is empty. A locked instruction, a serialising one, a barrier.
 *  - `guarded`: `full` if it is going to store something, `none` if not; its guard says so.
 *
 * Every op says which. `full` where the processor does not wait would hide runs, hence violations; `none`
 * or `store` where it does wait would show runs that cannot happen.
 */
export type Ordering = 'none' | 'store' | 'full' | 'guarded';

/**
 * An op is one atomic step of the machine: the only thing an actor can do to the world. To add one, call
 * `defineOp` and wrap the result in a primitive:
 *
 *     const swap = defineOp('swap', {
 *       ordering: 'full',
 *       exec: (m, who, [address, value]: [Address, number]) => ...
 *     });
 *     export const xchg = leaf(function* xchg(word: Word, value: number) {
 *       return yield* perform(swap, [word, value]);
 *     });
 *
 * Everything `exec`, `guard` and `outcomes` touch through the machine's cells becomes the step's footprint;
 * there is nothing to declare.
 */
export interface OpDef<A extends readonly unknown[], V> {
  readonly name: string;
  readonly ordering: Ordering;
  /**
   * May the step happen now? While it may not, the actor is disabled: it waits, it does not spin. Reads only
   * through `read`, because the explorer also asks "and in the order where that step came later?". A condition
   * that another value could fulfil as well must be read too: both sides of an "or".
   */
  guard?(read: Reader, machine: Machine, who: Actor, args: A): boolean;
  /** In how many ways may the step go? Each is tried; `machine.outcome` says which one this is. */
  outcomes?(machine: Machine, who: Actor, args: A): number;
  /** Does it. The result is what the actor receives: a primitive or a frozen, interned handle. */
  exec(machine: Machine, who: Actor, args: A): V;
  /** What a blocked actor waits for, for the report of a deadlock ("mmap_lock, held by CPU1"). */
  waitsFor?(machine: Machine, who: Actor, args: A): string;
  /** The same as data: who or what has to do something before a blocked step may happen. */
  blockers?(machine: Machine, who: Actor, args: A): readonly Blocker[];
  /** How the step appears in a diagram when it is not simply the call in the source. */
  describe?(machine: Machine, who: Actor, args: A, value: unknown): StepNote;
  /**
   * What a loop that starts again takes from the cells that such a step has read (ops/retry.ts), if it is not
   * their values: nothing that others could change, whether there are any, or that what was stored is still there.
   */
  readonly learns?: 'nothing' | 'sign' | 'stored';
  /** What it tells of the value that it finds, if that is not the value itself. */
  tells?(args: A, found: number): unknown;
  /** Of a step that has left a section: what the actor is inside of, if it is in that section again. */
  isBackIn?(machine: Machine, who: Actor, args: A): string | null;
  /** Not part of the protocol (a check of a sanitizer): hidden from diagrams unless it found something. */
  readonly ghost?: boolean;
}

/** Who holds up a blocked step: explanations follow these from one to the next. */
export type Blocker =
  /** It has to end. */
  | { readonly holds: 'end'; readonly actor: number }
  /** It has to let go of the lock in `cell`. */
  | { readonly holds: 'lock'; readonly actor: number; readonly cell: Cell }
  /** The CPU has to take an interrupt. */
  | { readonly holds: 'interrupts'; readonly cpu: number }
  /** The CPU has to leave its region with interrupts or preemption off. */
  | { readonly holds: 'atomic'; readonly cpu: number }
  /** The task has to leave its RCU read-side section. */
  | { readonly holds: 'section'; readonly actor: number }
  /** The actor has to leave its section of the SRCU domain; `cell` says since when it is in there. */
  | {
      readonly holds: 'srcu section';
      readonly actor: number;
      readonly domain: string;
      readonly cell: Cell;
    };

export interface StepNote {
  /** An event that the CPU does not execute itself, printed in angle brackets (R8). */
  readonly event?: string | undefined;
  /** Printed after the statement (`// -> pteA`). */
  readonly comment?: string | undefined;
}

export type AnyOpDef = OpDef<readonly unknown[], unknown>;

export interface Op {
  readonly def: AnyOpDef;
  readonly args: readonly unknown[];
}

/** What actors are made of. */
export type Steps<V> = Generator<Op, V, unknown>;

export function defineOp<A extends readonly unknown[], V>(
  name: string,
  def: Omit<OpDef<A, V>, 'name'>,
): OpDef<A, V> {
  return { name, ...def };
}

let tracing = false;
let trace: string | null = null;

/** Runs `advance` so that the op it yields remembers where it stands; returns that stack beside its value. */
export function traced<T>(on: boolean, advance: () => T): { value: T; trace: string | null } {
  const outer = tracing;
  tracing = on;
  trace = null;
  try {
    const value = advance();
    return { value, trace };
  } finally {
    tracing = outer;
  }
}

/** Stacks repeat; as text, and each only once, they take little room and keep nothing else alive. */
const stacks: Map<string, string> = new Map();

function interned(stack: string): string {
  const known = stacks.get(stack);
  if (known !== undefined) return known;
  stacks.set(stack, stack);
  return stack;
}

function remember(): void {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 40;
  trace = interned(new Error().stack ?? '');
  Error.stackTraceLimit = limit;
}

/** Yields one op and returns what the machine answers. */
export function* perform<A extends readonly unknown[], V>(def: OpDef<A, V>, args: A): Steps<V> {
  if (tracing) remember();
  return (yield { def: def, args }) as V;
}

/** Structural equality: actors make their pointers anew each time they are run. */
export function sameArgument(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a === 'function' && typeof b === 'function') return a.toString() === b.toString();
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, at) => sameArgument(item, b[at]));
  }
  if (typeof a === 'object' && typeof b === 'object' && a !== null && b !== null) {
    const fields = Object.entries(a);
    const others = b as Readonly<Record<string, unknown>>;
    return (
      fields.length === Object.keys(b).length &&
      fields.every(([name, item]) => sameArgument(item, others[name]))
    );
  }
  return false;
}

/** Ops are compared by what they say: an actor re-run with the same values must yield equal ops. */
export function sameOp(a: Op | null, b: Op | null): boolean {
  if (a === null || b === null) return a === b;
  return a.def === b.def && sameArgument(a.args, b.args);
}
