import type { Actor } from '../actor.ts';
import { Interner, type Cell, type Reader } from '../cells.ts';
import type { AnyFn } from '../fn.ts';
import { fn, leaf } from '../fn.ts';
import type { Machine } from '../machine.ts';
import type { Word } from '../memory.ts';
import { defineOp, perform, type Blocker, type Steps } from '../op.ts';
import { contentOf } from './control.ts';

/**
 * Sleepable RCU: what its grace periods need of the machine. Protocols use it through `kernel/srcu.ts`.
 *
 * A domain (struct srcu_struct) is a word, like a lock; it may lie in a page frame, and each op first follows
 * its pointer. Its sections have nothing to do with those of other domains or of RCU: they leave preemption
 * on, whoever is inside may sleep, and a grace period waits for those that were open when it began and for no
 * other. An actor may have several open, each with an index, and end them in any order.
 */

/** The sections of one actor under one index, which come one after the other. */
interface Sections {
  /** How many have begun, and how many of them others see the end of. */
  readonly entered: Cell;
  readonly ended: Cell;
  /** Satellite: how many the actor itself has left. The ends of some may still be in its store buffer. */
  readonly left: Cell;
}

/** The sections that were open at one moment, each with what its count of ends must have come to. */
export type OpenSrcu = readonly {
  readonly actor: number;
  readonly index: number;
  readonly count: number;
}[];

interface Domain {
  readonly word: Word;
  /** How many sections are open. Asking which ones starts here: it must conflict with whoever opens one. */
  readonly open: Cell;
  /** By actor, then by index. */
  readonly sections: Map<number, Sections[]>;
}

interface Domains {
  readonly byPlace: Map<string, Domain>;
  /** Equal sets are one object: they cross a trie edge. */
  readonly sets: Interner<OpenSrcu>;
}

function domainsOf(m: Machine): Domains {
  let domains = m.objects.get('srcu') as Domains | undefined;
  if (!domains) {
    domains = { byPlace: new Map(), sets: new Interner((open) => JSON.stringify(open)) };
    m.objects.set('srcu', domains);
  }
  return domains;
}

function domainAt(m: Machine, word: Word): Domain {
  const { byPlace } = domainsOf(m);
  const key = `${word.address}/${word.generation}`;
  let domain = byPlace.get(key);
  if (!domain) byPlace.set(key, (domain = { word, open: m.cells.allocate(), sections: new Map() }));
  return domain;
}

function isInside(m: Machine, { entered, left }: Sections): boolean {
  return m.cells.peek(entered) > m.cells.peek(left);
}

function sectionsAt(m: Machine, { sections }: Domain, actor: number, index: number): Sections {
  const { cells } = m;
  let own = sections.get(actor);
  if (!own) sections.set(actor, (own = []));
  return (own[index] ??= {
    entered: cells.tally(),
    ended: cells.tally(),
    left: cells.allocate(),
  });
}

/** The domains whose sections the actor is in, once for each section. */
export function srcuSections(m: Machine, actor: number): string[] {
  return [...domainsOf(m).byPlace.values()].flatMap(({ word, sections }) =>
    (sections.get(actor) ?? []).filter((own) => isInside(m, own)).map(() => word.name),
  );
}

function follow(m: Machine, who: Actor, word: Word): boolean {
  return m.dereference(who, word.frame, word.generation, word.name);
}

const lockOp = defineOp('srcu_read_lock', {
  ordering: 'none', // nobody may rely on a barrier here; grace periods see the section at once
  learns: 'nothing',
  exec: (m, who, [word]: [Word]) => {
    if (!follow(m, who, word)) return 0;
    const domain = domainAt(m, word);
    const own = domain.sections.get(who.index) ?? [];
    let index = 0;
    while (own[index] && isInside(m, own[index] as Sections)) index++;
    const { entered } = sectionsAt(m, domain, who.index, index);
    m.cells.add(domain.open, 1);
    m.cells.set(entered, m.cells.get(entered) + 1);
    return index;
  },
});

/** Opens a section of the domain and returns its index, which ends it. */
export function* srcu_enter(domain: Word): Steps<number> {
  return yield* perform(lockOp, [domain]);
}

const unlockOp = defineOp('srcu_read_unlock', {
  ordering: 'store', // others see the end behind what was stored in the section
  exec: (m, who, [word, index]: [Word, number]) => {
    if (!follow(m, who, word)) return undefined;
    const domain = domainAt(m, word);
    const section = domain.sections.get(who.index)?.[index];
    if (!section || !isInside(m, section)) {
      m.violate({
        kind: 'rcu-misuse',
        actor: who.name,
        object: word.name,
        message: `${who.name} calls srcu_read_unlock(${word.name}, ${index}) outside such a section.`,
        stops: true,
      });
      return undefined;
    }
    m.cells.poke(section.left, m.cells.peek(section.left) + 1);
    const act = (): void => {
      m.cells.add(domain.open, -1);
      m.cells.set(section.ended, m.cells.get(section.ended) + 1);
    };
    m.later(who, { name: 'srcu_read_unlock', identity: section, act });
    return undefined;
  },
  isBackIn: (m, who, [word, index]) => {
    const section = domainAt(m, word).sections.get(who.index)?.[index];
    return section && isInside(m, section) ? `a section of ${word.name}` : null;
  },
});

/** Ends the section that `srcu_enter` returned `index` for. */
export function* srcu_leave(domain: Word, index: number): Steps<void> {
  yield* perform(unlockOp, [domain, index]);
}

/** What a grace period that begins now waits for. Counts of begun sections change only with `open`. */
function openNow(m: Machine, { open, sections }: Domain): OpenSrcu {
  const { cells } = m;
  const { sets } = domainsOf(m);
  const isOpen = cells.get(open) > 0;
  const waited = (isOpen ? m.actors : []).flatMap(({ index: actor }) =>
    (sections.get(actor) ?? [])
      .map((own, index) => ({ actor, index, count: cells.peek(own.entered), own }))
      .filter(({ count, own }) => count > cells.peek(own.ended))
      .map(({ index, count }) => Object.freeze({ actor, index, count })),
  );
  return sets.at(sets.id(waited));
}

/** The sections of `open` that have not ended yet. */
function unfinished(read: Reader, m: Machine, word: Word, open: OpenSrcu): OpenSrcu {
  const domain = domainAt(m, word);
  return open.filter(
    ({ actor, index, count }) => read.get(sectionsAt(m, domain, actor, index).ended) < count,
  );
}

function allEnded(read: Reader, m: Machine, word: Word, open: OpenSrcu): boolean {
  const gone = contentOf(read, m, word) === null; // the step says so
  return unfinished(read, m, word, open).length === 0 || gone;
}

function heldUp(m: Machine, word: Word, open: OpenSrcu): string {
  const inside = unfinished(now(m), m, word, open);
  const names = new Set(inside.map(({ actor }) => m.actor(actor).name));
  return `a grace period of ${word.name}, held up by ${[...names].join(', ')}`;
}

function holdingUp(m: Machine, word: Word, open: OpenSrcu): Blocker[] {
  const domain = domainAt(m, word);
  return unfinished(now(m), m, word, open).map(({ actor, index }) => {
    const { entered } = sectionsAt(m, domain, actor, index);
    return { holds: 'srcu section', actor, domain: word.name, cell: entered };
  });
}

/** Looks without recording: for what is said about a state. */
function now({ cells }: Machine): Reader {
  return { get: (cell) => cells.peek(cell) };
}

const snapshotOp = defineOp('start_srcu_grace_period', {
  ordering: 'full',
  exec: (m, who, [word]: [Word]) =>
    follow(m, who, word) && m.maySleep(who, 'synchronize_srcu()')
      ? openNow(m, domainAt(m, word))
      : null,
});

const waitOp = defineOp('synchronize_srcu', {
  ordering: 'full', // it sleeps
  guard: (read, m, _who, [word, open]: [Word, OpenSrcu]) => allEnded(read, m, word, open),
  exec: (m, who, [word]) => {
    follow(m, who, word);
    return undefined;
  },
  waitsFor: (m, _who, [word, open]) => heldUp(m, word, open),
  blockers: (m, _who, [word, open]) => holdingUp(m, word, open),
});

/** Waits for a grace period of the domain. May sleep; inside one of its sections it waits for itself. */
export const wait_srcu_grace_period = leaf(function* wait_srcu_grace_period(
  domain: Word,
): Steps<void> {
  const open = yield* perform(snapshotOp, [domain]);
  if (open) yield* perform(waitOp, [domain, open]);
});

const graceOp = defineOp('srcu_grace_period', {
  ordering: 'none', // a callback runs on no CPU of the scenario and has no buffer
  guard: (read, m, _who, [word, open]: [Word, OpenSrcu]) => allEnded(read, m, word, open),
  exec: (m, who, [word]) => {
    m.cells.set(m.cellsOf(who.index).rcuNesting, 1); // srcu_invoke_callbacks() turns softirqs off
    m.cells.add(m.openCallbacks, 1);
    follow(m, who, word);
    return undefined;
  },
  describe: (_m, who) => ({ event: who.name }),
  waitsFor: (m, _who, [word, open]) => heldUp(m, word, open),
  blockers: (m, _who, [word, open]) => holdingUp(m, word, open),
});

/** Runs `callback` once every section in `open` has ended. The body of an SRCU callback's actor. */
export const after_srcu_grace_period = fn(
  function* after_srcu_grace_period(
    domain: Word,
    open: OpenSrcu,
    callback: AnyFn,
    ...args: unknown[]
  ): Steps<void> {
    yield* perform(graceOp, [domain, open]);
    yield* (callback as unknown as (...args: unknown[]) => Steps<unknown>)(...args);
  },
  { hidden: true },
);

type QueueArgs = [
  domain: Word,
  callback: AnyFn,
  args: readonly unknown[],
  effect: ((m: Machine) => void) | null,
  waits: boolean,
];

/** As with RCU, the grace period begins behind what was stored before. */
const queueOp = defineOp('call_srcu', {
  ordering: 'store',
  exec: (m, who, args: QueueArgs) => {
    if (!follow(m, who, args[0])) return undefined;
    m.later(who, { name: 'call_srcu', identity: args, act: () => enqueue(m, who, args) });
    return undefined;
  },
});

function enqueue(m: Machine, who: Actor, [word, callback, args, effect, waits]: QueueArgs): void {
  const open = waits ? openNow(m, domainAt(m, word)) : [];
  effect?.(m);
  m.spawn(who, {
    fn: after_srcu_grace_period,
    args: [word, open, callback, ...args],
    title: `SRCU callback: ${callback.title}()`,
    kind: 'softirq',
    cpu: -1,
    column: who.column,
  });
}

/** Runs `callback(...args)` after a grace period of the domain that begins now. */
export function* queue_srcu_callback(
  domain: Word,
  callback: AnyFn,
  args: readonly unknown[],
  effect?: ((m: Machine) => void) | null,
): Steps<void> {
  yield* perform(queueOp, [domain, callback, args, effect ?? null, true]);
}

/** The same without a grace period: it runs whenever it likes, still as somebody else. */
export function* queue_srcu_callback_at_once(
  domain: Word,
  callback: AnyFn,
  args: readonly unknown[],
  effect?: ((m: Machine) => void) | null,
): Steps<void> {
  yield* perform(queueOp, [domain, callback, args, effect ?? null, false]);
}
