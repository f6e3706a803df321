import type { ExecutedStep } from '../explore/run.ts';
import type { Reader } from '../machine/cells.ts';
import type { AnyFn, KernelFn } from '../machine/fn.ts';
import type { Machine } from '../machine/machine.ts';
import {
  ALLOCATED,
  FOREIGN,
  FREE,
  PENDING,
  lifeGeneration,
  lifeState,
  type Page,
  type Word,
} from '../machine/memory.ts';

/**
 * What a scenario may say about runs.
 *
 * A *step predicate* (`touched`, `returned`) speaks of one step and is evaluated inside it; what it reads
 * joins that step's footprint. A *state predicate* is a function of a `View` and speaks of several words at
 * once; it is evaluated by an observer that can act at every cut. The two are different because reduction
 * tells apart what steps read, not which intermediate states a run happens to pass.
 */
export type StatePredicate<S> = (view: View<S>) => boolean;

export interface StepPredicate<S> {
  readonly about: 'step';
  /** Ask the machine to keep count of table links. */
  readonly needsLinks: boolean;
  holds(machine: Machine, step: ExecutedStep, state: S): boolean;
}

export type BarePredicate<S> = StatePredicate<S> | StepPredicate<S>;

/** A predicate that applies to some variants only. */
export interface OnlyIn<S> {
  readonly variants: readonly string[];
  readonly predicate: BarePredicate<S>;
}

export type Predicate<S> = BarePredicate<S> | OnlyIn<S>;

/** A witness for RCU is not asked of a variant without RCU: `only(['rcu'], touched(...))`. */
export function only<S>(variants: readonly string[], predicate: BarePredicate<S>): OnlyIn<S> {
  return { variants, predicate };
}

/** A state as predicates see it: every read through it is a read of the observer. */
export class View<S> {
  /** What `setup` returned. */
  readonly s: S;
  readonly machine: Machine;
  private readonly reader: Reader;

  constructor(machine: Machine, state: S, reader: Reader) {
    this.machine = machine;
    this.s = state;
    this.reader = reader;
  }

  /** The value of a word of static memory. */
  read(word: Word): number {
    return this.reader.get(word.cell);
  }

  /** Has the page been freed since the scenario got it? */
  freed(page: Page): boolean {
    const life = this.reader.get(this.machine.memory.info(page.frame).life);
    return lifeState(life) === FREE || lifeGeneration(life) !== page.generation;
  }

  /** Are interrupts off on a CPU? */
  irqs_off(cpu: string): boolean {
    const found = this.machine.cpus.find(({ name }) => name === cpu);
    return found !== undefined && this.reader.get(found.irqOff) === 1;
  }
}

/** What a frame is when it is touched. */
export type LifeName = 'live' | 'unlinked' | 'pending' | 'freed' | 'reused';

/** Some step of `actor` reads or writes inside the frame while that is in the given state. */
export function touched<S>(
  actor: string,
  page: (state: S) => Page,
  life: LifeName,
): StepPredicate<S> {
  return {
    about: 'step',
    needsLinks: life === 'unlinked' || life === 'live',
    holds(machine, { who }, state) {
      if (who.name !== actor) return false;
      const target = page(state);
      const info = machine.memory.info(target.frame);
      const { cells } = machine;
      if ((cells.head[info.life] as number) < cells.start) return false; // it followed no pointer there
      const now = cells.get(info.life);
      return lifeName(machine, now, target, info.links) === life;
    },
  };
}

function lifeName(machine: Machine, life: number, page: Page, links: number): LifeName {
  const state = lifeState(life);
  if (lifeGeneration(life) !== page.generation || state === FOREIGN) return 'reused';
  if (state === FREE) return 'freed';
  if (state === PENDING) return 'pending';
  if (state === ALLOCATED && machine.tracksLinks && machine.cells.get(links) === 0)
    return 'unlinked';
  return 'live';
}

/** A call of `fn` returns `value` (or a value for which the function holds). */
export function returned<A extends readonly unknown[], V>(
  fn: KernelFn<A, V>,
  value: V | ((value: V) => boolean),
): StepPredicate<unknown> {
  const matches =
    typeof value === 'function'
      ? (value as (value: V) => boolean)
      : (other: V): boolean => Object.is(other, value);
  return {
    about: 'step',
    needsLinks: false,
    holds: (_machine, { before, after }) =>
      after !== before &&
      after.returned.some(
        (call) => call.fn === (fn as unknown as AnyFn) && matches(call.value as V),
      ),
  };
}

/** Some step of `actor` executes inside a call of `fn` (a handler ran, a slow path was taken). */
export function entered(actor: string | null, fn: unknown): StepPredicate<unknown> {
  return {
    about: 'step',
    needsLinks: false,
    holds: (_machine, { who, before }) => {
      if (actor !== null && who.name !== actor) return false;
      for (let frame = before.frame; frame; frame = frame.up) if (frame.fn === fn) return true;
      return false;
    },
  };
}

export function isOnlyIn<S>(predicate: Predicate<S>): predicate is OnlyIn<S> {
  return typeof predicate === 'object' && 'variants' in predicate;
}
