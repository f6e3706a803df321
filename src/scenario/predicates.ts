import { GracewalkError } from '../base/errors.ts';
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
  refuseNarrow,
  type Entry,
  type EntryPointer,
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
  /** Whose steps it speaks of, for the check that there is such an actor. */
  readonly actor?: string;
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
  // Private: whatever is read past the reader would be missing from the observer's footprint.
  readonly #machine: Machine;
  private readonly reader: Reader;

  constructor(machine: Machine, state: S, reader: Reader) {
    this.#machine = machine;
    this.s = state;
    this.reader = reader;
    // `({ read, s }) => read(s.x) === 1` is how many people would write a predicate.
    this.read = this.read.bind(this);
    this.entry = this.entry.bind(this);
    this.freed = this.freed.bind(this);
    this.irqs_off = this.irqs_off.bind(this);
  }

  /** The value of a 32-bit word. */
  read(word: Word): number {
    if ((word as Word | undefined)?.cell === undefined) {
      refuse(
        'v.read()',
        'word',
        'words come from m.memory.variable(name) or from the kernel structures',
      );
    }
    const value = this.reader.get(word.cell);
    if (word.frame < 0) return value;
    const life = this.reader.get(this.#machine.memory.info(word.frame).life);
    return this.reader.get(word.epoch) === lifeGeneration(life) ? value : 0;
  }

  /** Evaluates a predicate once more and tells what it reads, `x = 1`: for a message about it. */
  reads(predicate: StatePredicate<S>): string[] {
    const told = new Set<string>();
    const view = new View(this.#machine, this.s, this.reader);
    view.read = (word) => {
      const value = this.read(word);
      told.add(`${word.name} = ${value}`);
      return value;
    };
    try {
      predicate(view);
    } catch {
      // That is why somebody asks.
    }
    return [...told];
  }

  /** A page-table entry: what it says, whoever owns the table by now. */
  entry(place: Word | EntryPointer): Entry {
    const { memory } = this.#machine;
    if ((place as Word | undefined)?.frame === undefined) {
      refuse('v.entry()', 'page-table entry', 'entries come from pmd_off() and the like');
    }
    const word = memory.resolve(place);
    refuseNarrow(word);
    this.reader.get(word.cell);
    if (word.frame >= 0) this.reader.get(memory.info(word.frame).life);
    return memory.peekWide(word);
  }

  /** Has the page been freed since the scenario got it? */
  freed(page: Page): boolean {
    if (!isPage(page))
      refuse('v.freed()', 'page', 'pages come from new_page(), pte_table() or new_object()');
    const life = this.reader.get(this.#machine.memory.info(page.frame).life);
    return lifeState(life) === FREE || lifeGeneration(life) !== page.generation;
  }

  /** Are interrupts off on a CPU? */
  irqs_off(cpu: string): boolean {
    const { cpus } = this.#machine;
    const found = cpus.find(({ name }) => name === cpu);
    if (found) return this.reader.get(found.irqOff) === 1;
    throw new GracewalkError('E102', `v.irqs_off() asks about '${cpu}', which is no CPU`, {
      help: `the machine has ${cpus.map(({ name }) => name).join(', ')}`,
    });
  }
}

/** What is looked at may be anything: no type has been checked when a scenario is run. */
function isPage(value: unknown): value is Page {
  return ((value as Page | null | undefined)?.frame ?? -1) >= 0;
}

function refuse(where: string, what: string, source: string): never {
  throw new GracewalkError('E120', `${where} was given something that is no ${what}`, {
    notes: ['is it a field that setup() does not return?'],
    help: `${source} in gracewalk/linux`,
  });
}

function refuseUncallable(where: string, what: unknown): void {
  if (typeof what === 'function') return;
  throw new GracewalkError('E108', `${where} was given something that is no function`, {
    notes: [`it is ${String(what)}: check the name`],
    help: 'name a function of gracewalk/linux, or one that `fn` or `leaf` made',
  });
}

/** What a frame is when it is touched. */
export type LifeName = (typeof LIFE_NAMES)[number];
const LIFE_NAMES = ['live', 'unlinked', 'pending', 'freed', 'reused'] as const;

/**
 * Some step of `actor` reads or writes a word inside the frame while that is in the given state. Handing the
 * frame over (`call_rcu`, a free) is none, and neither is what the hardware reads on the way.
 */
export function touched<S>(
  actor: string,
  page: (state: S) => Page,
  life: LifeName,
): StepPredicate<S> {
  if (!LIFE_NAMES.includes(life)) {
    throw new GracewalkError('E108', `touched() asks for '${String(life)}', which no page can be`, {
      help: `a page is ${LIFE_NAMES.join(', ')}`,
    });
  }
  return {
    about: 'step',
    actor,
    needsLinks: life === 'unlinked' || life === 'live',
    holds(machine, { who, before }, state) {
      if (who.name !== actor) return false;
      const target = page(state);
      if (!isPage(target))
        refuse('touched()', 'page', 'pages come from new_page(), pte_table() or new_object()');
      if (!before.op?.args.some((arg) => accessed(machine, arg, target.frame))) return false;
      const info = machine.memory.info(target.frame);
      return lifeName(machine, machine.cells.get(info.life), target, info.links) === life;
    },
  };
}

/** Is `arg` a pointer to a word of the frame, and did the step follow it? */
function accessed(machine: Machine, arg: unknown, frame: number): boolean {
  if (typeof arg !== 'object' || arg === null || !('cell' in arg || 'index' in arg)) return false;
  const place = arg as Word | EntryPointer;
  if (place.frame !== frame) return false;
  const { cells, memory } = machine;
  // A dangling pointer was followed although no word was read; a lock is taken without following it.
  return [memory.info(frame).life, memory.resolve(place).cell].some(
    (cell) => (cells.head[cell] as number) >= cells.start,
  );
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
  refuseUncallable('returned()', fn);
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
  refuseUncallable('entered()', fn);
  return {
    about: 'step',
    needsLinks: false,
    ...(actor === null ? {} : { actor }),
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
