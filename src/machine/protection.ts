import type { Frame } from './fn.ts';
import type { Word } from './memory.ts';
import type { Steps } from './op.ts';

/**
 * Protections: what a protocol does only so that others cannot hurt it. A function that is one says so where it
 * is defined, and what is left of it when it is taken away:
 *
 *     export const rcu_read_lock = leaf(function* rcu_read_lock() {...}, {
 *       protects: { what: 'rcu_read_lock()', opens: 'rcu' },
 *     });
 *
 * A variant names those that it does without (`without`), as `gracewalk why` does for all of them in turn. A
 * protection is a place: local_irq_save() in get_user_pages_fast() is another than the same call elsewhere.
 * Calls made by a function that is `onBehalf` of its caller, or hidden, are its caller's. A lock is one
 * protection wherever it is taken, because it excludes nobody if only one side takes it.
 *
 * Taking one away must not be an error of another kind. What opens a section names it, and what closes it does
 * nothing if the section was not opened; a lock is neither taken nor dropped; a grace period waits for nobody.
 */
export interface Protection<A extends readonly unknown[], V> {
  /** What is not there without it. A lock is named by what it is, which its arguments tell. */
  readonly what: string | ((...args: A) => string);
  /** The same protection wherever it is called. */
  readonly everywhere?: boolean;
  /** What is done instead. Nothing, if it is not said. */
  readonly without?: (...args: A) => Steps<V>;
  /** The section that it opens, if it does not answer `false`. */
  readonly opens?: Section;
}

export type Section = 'interrupts off' | 'preemption off' | 'rcu_read_lock' | 'srcu_read_lock';

/** What is left of a re-check: what it looked for is taken to be so. */
export function* holds(): Steps<boolean> {
  return true;
}

/** What is left of a question without which nothing stands in the way. */
export function* no(): Steps<boolean> {
  return false;
}

/** The name of a lock's class: `mm->mmap_lock` is mmap_lock, `ptl(pteA)` is ptl, `A.lock` is lock. */
export function lockClass(lock: Word): string {
  const plain = lock.name.replaceAll(/\([^)]*\)|\[[^\]]*\]/g, '');
  return `the lock ${/(\w+)\W*$/.exec(plain)?.[1] ?? plain}`;
}

/** The protections that an actor has come by, each with those that it was always a part of. */
export type Protections = Map<string, ReadonlySet<string>>;

/** The protections of one running actor: which it comes by, and which of its sections are not there. */
export class ProtectionState {
  private readonly actor: string;
  private readonly without: ReadonlySet<string> | undefined;
  private readonly cameBy: Protections;
  private readonly sections: Map<Section, boolean[]> = new Map();

  constructor(actor: string, without: ReadonlySet<string> | undefined, cameBy: Protections) {
    this.actor = actor;
    this.without = without;
    this.cameBy = cameBy;
  }

  /**
   * A call of a function that protects. Was it taken away? Within one of the same kind it is a part of that
   * (`tree_call_rcu` in the place of `call_rcu`).
   */
  enter<A extends readonly unknown[]>(
    { what, everywhere }: Protection<A, never>,
    args: A,
    frame: Frame,
  ): boolean {
    const kind = typeof what === 'string' ? what : what(...args);
    const outer = new Set<string>();
    for (let at = frame.up; at; at = at.up) {
      if (at.fn.options.protects?.what === what) return false;
      if (at.protection !== null) outer.add(at.protection);
    }
    const name = everywhere === true ? kind : `${kind} in ${this.place(frame.up)}`;
    frame.protection = name;
    noteParts(this.cameBy, name, outer);
    return this.without?.has(name) === true;
  }

  private place(caller: Frame | null): string {
    let at = caller;
    while (at && (at.fn.options.hidden === true || at.fn.options.onBehalf === true)) at = at.up;
    if (at) return `${at.fn.title}()`;
    return this.actor.includes(':') ? `<${this.actor}>` : this.actor;
  }

  open(section: Section, isGone: boolean): void {
    const open = this.sections.get(section);
    if (open) open.push(isGone);
    else this.sections.set(section, [isGone]);
  }

  /** Closes the innermost section. Was it never opened? */
  close(section: Section): boolean {
    return this.sections.get(section)?.pop() === true;
  }
}

/** `name` was met as a part of `outer`: it is always a part only of those that all meetings have in common. */
export function noteParts(all: Protections, name: string, outer: ReadonlySet<string>): void {
  const before = all.get(name);
  if (!before) all.set(name, outer);
  else if (before.size > 0) all.set(name, new Set([...before].filter((each) => outer.has(each))));
}
