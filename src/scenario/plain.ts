import { GracewalkError } from '../base/errors.ts';
import { Activation, within, type AnyFn } from '../machine/fn.ts';
import type { StatePredicate, View } from './predicates.ts';

/**
 * The author's functions that are no actors: `setup` and predicates. Operations do nothing there; one that is
 * called all the same was meant to do something, and a check without it would be about something else.
 */

/** Makes the initial state. */
export function setUp<S>(setup: () => S): S {
  const state = plainly('setup()', SETUP, setup);
  const made = state as { readonly next?: unknown; readonly then?: unknown } | null | undefined;
  const what =
    typeof made?.next === 'function'
      ? 'generator'
      : typeof made?.then === 'function'
        ? 'promise'
        : null;
  if (what === null) return frozen(state);
  throw new GracewalkError('E122', `setup() returns a ${what}, not a state`, {
    notes: ['nothing runs it: setup makes the initial state before the first step'],
    help: 'write `setup(m) { ... return { x }; }`, without a star and without async',
  });
}

/**
 * What actors share is words. A plain variable in the state that one of them changes and another looks at
 * would be an access that nobody records: the search would not know that the order matters.
 */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  const kind: unknown = Object.getPrototypeOf(value);
  if (kind !== Object.prototype && kind !== Array.prototype) return value;
  Object.freeze(value);
  for (const part of Object.values(value)) frozen(part);
  return value;
}

/** Evaluates a state predicate, and refuses what is neither true nor false (a generator is always truthy). */
export function judge(
  name: string,
  predicate: StatePredicate<unknown>,
  view: View<unknown>,
): boolean {
  let holds: unknown;
  try {
    holds = plainly(`'${name}'`, PREDICATE, () => predicate(view));
  } catch (error) {
    throw error instanceof GracewalkError ? error : threw(name, predicate, view, error);
  }
  if (typeof holds === 'boolean') return holds;
  throw new GracewalkError('E119', `'${name}' is neither true nor false but ${typeof holds}`, {
    help: PREDICATE.help,
  });
}

interface Advice {
  readonly note: string;
  readonly help: string;
}

const SETUP: Advice = {
  note: 'setup makes the initial state before the first step: nobody executes anything yet',
  help: "give words their first value, m.memory.variable('x', 1), and let an actor do the rest",
};

const PREDICATE: Advice = {
  note: 'a predicate looks at a state; it executes nothing',
  help: 'a predicate compares what it reads with v.read(word), without yield*',
};

/** Shared, as a predicate is evaluated at every step; made anew once it has something to report. */
let idle: Activation = fresh();

/** It traces: whatever is called here is a mistake, whose place is wanted. */
function fresh(): Activation {
  return new Activation(new Map(), -1, undefined, true);
}

function plainly<T>(where: string, advice: Advice, run: () => T): T {
  const activation = idle;
  let isIdle = false;
  try {
    const value = within(activation, run);
    refuseCalled(where, advice, activation);
    const [ran] = activation.entered;
    if (ran !== undefined) throw operationIn(where, (ran as AnyFn).title, advice);
    isIdle = true;
    return value;
  } finally {
    if (!isIdle) idle = fresh();
  }
}

/** E101 in other words: `yield*` would be wrong advice here. */
function refuseCalled(where: string, advice: Advice, activation: Activation): void {
  try {
    activation.finish();
  } catch (error) {
    if (!(error instanceof GracewalkError)) throw error;
    const title = /^(.*)\(\) was called/.exec(error.message)?.[1] ?? 'an operation';
    const { site } = error.details;
    throw operationIn(where, title, advice, { site, label: 'does nothing here' });
  }
}

function operationIn(
  where: string,
  title: string,
  { note, help }: Advice,
  place: Pick<GracewalkError['details'], 'site' | 'label'> = {},
): GracewalkError {
  return new GracewalkError('E122', `${where} calls ${title}(), which is an operation`, {
    ...place,
    notes: [note],
    help,
  });
}

/** The state is told by what the predicate has read of it. */
function threw(
  name: string,
  predicate: StatePredicate<unknown>,
  view: View<unknown>,
  error: unknown,
): GracewalkError {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const read = view.reads(predicate);
  const failure = new GracewalkError('E123', `'${name}' threw ${what}`, {
    notes: [read.length === 0 ? 'before it read anything' : `having read ${read.join(', ')}`],
    help: 'a predicate must be true or false in every state that a run passes',
  });
  // Where it was thrown is where the author has to look.
  if (error instanceof Error && error.stack !== undefined) failure.stack = error.stack;
  return failure;
}
