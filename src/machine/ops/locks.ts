import type { Actor } from '../actor.ts';
import { Interner, type Cell } from '../cells.ts';
import { endAtomic, enterAtomic, leaveAtomic } from '../cpu.ts';
import type { Machine } from '../machine.ts';
import type { Word } from '../memory.ts';
import { defineOp, perform, type Blocker, type Steps } from '../op.ts';
import { leaf } from '../fn.ts';
import { lockClass } from '../protection.ts';
import { contentOf, lockedUnless } from './control.ts';

/**
 * Locks. A lock is a word: 0 free, n > 0 write-held by actor n - 1, n < 0 held by -n readers. Taking one
 * blocks (the actor is disabled), it never spins; spinning locks turn preemption off, sleeping ones must
 * not be taken where sleeping is not allowed. A lock may lie in a page frame: like every access, each op
 * first follows its pointer, and whoever waits for a lock that is freed under him goes on, into the error.
 */

interface LockKind {
  readonly sleeps: boolean;
}

const SPINNING: LockKind = { sleeps: false };
const SLEEPING: LockKind = { sleeps: true };

/** One lock that an actor holds. */
export interface Hold {
  readonly word: Word;
  readonly reading: boolean;
  readonly sleeps: boolean;
}

/** Who holds what: the word only says how many readers there are. A satellite; nobody asks about others. */
interface Holds {
  readonly lists: Interner<readonly Hold[]>;
  readonly cells: Map<number, Cell>;
}

function holdsOf(m: Machine): Holds {
  let holds = m.objects.get('holds') as Holds | undefined;
  if (!holds) {
    const text = ({ word, reading, sleeps }: Hold): string =>
      [word.address, word.generation, reading, sleeps].join('/');
    holds = { lists: new Interner((list) => list.map(text).join()), cells: new Map() };
    holds.lists.id([]); // what a new cell says
    m.objects.set('holds', holds);
  }
  return holds;
}

/** The locks that an actor holds, in the order in which it took them. */
export function heldBy(m: Machine, actor: number): readonly Hold[] {
  const { lists, cells } = holdsOf(m);
  const cell = cells.get(actor);
  return lists.at(cell === undefined ? 0 : m.cells.peek(cell));
}

function hold(m: Machine, actor: number, list: readonly Hold[]): void {
  const { lists, cells } = holdsOf(m);
  let cell = cells.get(actor);
  if (cell === undefined) cells.set(actor, (cell = m.cells.allocate()));
  m.cells.poke(cell, lists.id(list));
  m.cells.poke(m.cellsOf(actor).locks, list.length);
}

function holders(m: Machine, word: Word): Blocker[] {
  return m.actors
    .filter(({ index }) => heldBy(m, index).some((held) => held.word === word))
    .map(({ index }) => ({ holds: 'lock', actor: index, cell: word.cell }));
}

function owner(m: Machine, word: Word): string {
  const value = m.cells.peek(word.cell);
  if (value > 0) return `${word.name}, held by ${writer(m, value)}`;
  return value < 0 ? `${word.name}, held by ${-value} reader${value < -1 ? 's' : ''}` : word.name;
}

function follow(m: Machine, who: Actor, word: Word): boolean {
  return m.dereference(who, word.frame, word.generation, word.name);
}

/**
 * Stores a lock's value. The epoch is recorded here, unlike in other stores: conditions judge the lock as it
 * was without this step, and the value from before means nothing without the epoch from before.
 */
function put(m: Machine, word: Word, value: number): void {
  if (word.frame >= 0) m.cells.set(word.epoch, word.generation);
  m.memory.store(word, value);
}

/** May the actor wait for such a lock? Of one that sleeps the machine says so. */
function mayWait(m: Machine, who: Actor, { word, sleeps }: Hold): boolean {
  return !sleeps || m.maySleep(who, word.name);
}

function took(m: Machine, who: Actor, taken: Hold): undefined {
  const { word, reading, sleeps } = taken;
  put(m, word, reading ? m.memory.load(word) - 1 : who.index + 1);
  hold(m, who.index, [...heldBy(m, who.index), taken]);
  if (!sleeps && who.cpu >= 0) enterAtomic(m.cells, m.cpu(who.cpu));
  return undefined;
}

/** The end of a wait for a lock. */
function locked(m: Machine, who: Actor, taken: Hold): undefined {
  if (follow(m, who, taken.word) && mayWait(m, who, taken)) took(m, who, taken);
}

/** May the hold be dropped? Forgets it then, and returns what the lock must say. */
function letGo(m: Machine, who: Actor, dropping: Hold): number | undefined {
  const { word, reading, sleeps } = dropping;
  if (!follow(m, who, word)) return undefined;
  const value = m.load(who, word);
  const list = heldBy(m, who.index);
  const at = list.findLastIndex(
    (held) => held.word === word && held.reading === reading && held.sleeps === sleeps,
  );
  if (at < 0 || (reading ? value >= 0 : value !== who.index + 1)) {
    return refuse(m, who, dropping, value);
  }
  hold(m, who.index, list.toSpliced(at, 1));
  return reading ? value + 1 : 0;
}

function dropped(m: Machine, who: Actor, dropping: Hold): undefined {
  const after = letGo(m, who, dropping);
  if (after === undefined) return undefined;
  put(m, dropping.word, after);
  if (!dropping.sleeps && who.cpu >= 0) leaveAtomic(m.cells, m.cpu(who.cpu));
  return undefined;
}

/** The same by a plain store: others find the lock free, and the CPU quiescent, once it is in memory. */
function released(m: Machine, who: Actor, dropping: Hold): undefined {
  const after = letGo(m, who, dropping);
  if (after === undefined) return undefined;
  const { word } = dropping;
  const ends = who.cpu >= 0 ? endAtomic(m.cells, m.cpu(who.cpu)) : undefined;
  m.later(who, { name: 'unlock', word, value: after, act: () => put(m, word, after), ends });
  return undefined;
}

/** The lock that a step has dropped, if the actor holds it again. */
function isHeldAgain(m: Machine, who: Actor, [word]: readonly [Word, ...unknown[]]): string | null {
  return heldBy(m, who.index).some((held) => held.word === word) ? word.name : null;
}

/** Dropping what one does not hold. It stops the actor: it would be inside a section that is not its own. */
function refuse(m: Machine, who: Actor, { word, reading }: Hold, value: number): undefined {
  m.violate({
    kind: 'lock-leak',
    actor: who.name,
    object: word.name,
    message: `${who.name} ${reading ? 'read-unlocks' : 'unlocks'} ${word.name}, ${holder(m, who, word, value)}.`,
    stops: true,
  });
  return undefined;
}

function holder(m: Machine, who: Actor, word: Word, value: number): string {
  if (value === 0) return 'which is free';
  if (value > 0 && value !== who.index + 1) return `which ${writer(m, value)} holds`;
  const own = heldBy(m, who.index).find((held) => held.word === word && held.reading === value < 0);
  if (own) {
    const kind = own.sleeps ? 'sleeping' : 'spinning';
    return `which it holds as a ${kind} lock for ${own.reading ? 'reading' : 'writing'}`;
  }
  if (value > 0) return 'which it never took';
  return value === -1 ? 'which another reader holds' : `which ${-value} other readers hold`;
}

/** A lock is a word, and anybody may have written anything to it. */
function writer(m: Machine, value: number): string {
  return m.actors[value - 1]?.name ?? 'nobody';
}

const writeLockOp = defineOp('lock', {
  ordering: 'full',
  guard: (read, m, _who, [word]: [Word, LockKind]) => (contentOf(read, m, word) ?? 0) === 0,
  exec: (m, who, [word, { sleeps }]) => locked(m, who, { word, reading: false, sleeps }),
  waitsFor: (m, _who, [word]) => owner(m, word),
  blockers: (m, _who, [word]) => holders(m, word),
});

const readLockOp = defineOp('read_lock', {
  ordering: 'full',
  guard: (read, m, _who, [word]: [Word, LockKind]) => (contentOf(read, m, word) ?? 0) <= 0,
  exec: (m, who, [word, { sleeps }]) => locked(m, who, { word, reading: true, sleeps }),
  waitsFor: (m, _who, [word]) => owner(m, word),
  blockers: (m, _who, [word]) => holders(m, word),
});

const tryLockOp = defineOp('trylock', {
  ordering: 'guarded', // queued_spin_trylock() looks first: of a lock that is taken, a load
  guard: (read, m, who, [word]: [Word, LockKind]) =>
    lockedUnless(read, m, who, word, (value) => value !== 0),
  exec: (m, who, [word, { sleeps }]: [Word, LockKind]) => {
    if (!follow(m, who, word) || m.load(who, word) !== 0) return false;
    took(m, who, { word, reading: false, sleeps });
    return true;
  },
  describe: (_m, _who, _args, value) => ({ comment: String(value) }),
});

/** spin_unlock(), write_unlock(): smp_store_release(), on x86 a plain store. */
const releaseOp = defineOp('unlock', {
  ordering: 'store',
  exec: (m, who, [word]: [Word]) => released(m, who, { word, reading: false, sleeps: false }),
  isBackIn: isHeldAgain,
});

/** mutex_unlock(), up_write(): atomic read-modify-writes, on x86 locked instructions. */
const unlockOp = defineOp('unlock', {
  ordering: 'full',
  exec: (m, who, [word]: [Word]) => dropped(m, who, { word, reading: false, sleeps: true }),
  isBackIn: isHeldAgain,
});

/** read_unlock(), up_read(): atomic subtractions from the count of readers. */
const readUnlockOp = defineOp('read_unlock', {
  ordering: 'full',
  exec: (m, who, [word, { sleeps }]: [Word, LockKind]) =>
    dropped(m, who, { word, reading: true, sleeps }),
  isBackIn: isHeldAgain,
});

/** Taken and dropped by functions that do not call each other: it is there everywhere or nowhere. */
const LOCK = { address: [0], protects: { what: lockClass, everywhere: true } };

/** Takes a spinlock; preemption is off until it is dropped. */
export const spin_lock = leaf(function* spin_lock(lock: Word): Steps<void> {
  yield* perform(writeLockOp, [lock, SPINNING]);
}, LOCK);

const TRYLOCK = {
  ...LOCK,
  protects: {
    ...LOCK.protects,
    without: function* (): Steps<boolean> {
      return true;
    },
  },
};

/** Takes a spinlock if it is free; returns whether it did. */
export const spin_trylock = leaf(function* spin_trylock(lock: Word): Steps<boolean> {
  return yield* perform(tryLockOp, [lock, SPINNING]);
}, TRYLOCK);

export const spin_unlock = leaf(function* spin_unlock(lock: Word): Steps<void> {
  yield* perform(releaseOp, [lock]);
}, LOCK);

/** Takes a mutex: may sleep. */
export const mutex_lock = leaf(function* mutex_lock(lock: Word): Steps<void> {
  yield* perform(writeLockOp, [lock, SLEEPING]);
}, LOCK);

/** Takes a mutex if it is free, and never sleeps; returns whether it did. */
export const mutex_trylock = leaf(function* mutex_trylock(lock: Word): Steps<boolean> {
  return yield* perform(tryLockOp, [lock, SLEEPING]);
}, TRYLOCK);

export const mutex_unlock = leaf(function* mutex_unlock(lock: Word): Steps<void> {
  yield* perform(unlockOp, [lock]);
}, LOCK);

/** Takes an rw_semaphore for writing: may sleep. */
export const down_write = leaf(function* down_write(lock: Word): Steps<void> {
  yield* perform(writeLockOp, [lock, SLEEPING]);
}, LOCK);

export const up_write = leaf(function* up_write(lock: Word): Steps<void> {
  yield* perform(unlockOp, [lock]);
}, LOCK);

/** Takes an rw_semaphore for reading: may sleep. */
export const down_read = leaf(function* down_read(lock: Word): Steps<void> {
  yield* perform(readLockOp, [lock, SLEEPING]);
}, LOCK);

export const up_read = leaf(function* up_read(lock: Word): Steps<void> {
  yield* perform(readUnlockOp, [lock, SLEEPING]);
}, LOCK);

/** Takes an rwlock_t for reading. */
export const read_lock = leaf(function* read_lock(lock: Word): Steps<void> {
  yield* perform(readLockOp, [lock, SPINNING]);
}, LOCK);

export const read_unlock = leaf(function* read_unlock(lock: Word): Steps<void> {
  yield* perform(readUnlockOp, [lock, SPINNING]);
}, LOCK);

/** Takes an rwlock_t for writing. */
export const write_lock = leaf(function* write_lock(lock: Word): Steps<void> {
  yield* perform(writeLockOp, [lock, SPINNING]);
}, LOCK);

export const write_unlock = leaf(function* write_unlock(lock: Word): Steps<void> {
  yield* perform(releaseOp, [lock]);
}, LOCK);
