import type { Actor } from '../actor.ts';
import { enterAtomic, leaveAtomic } from '../cpu.ts';
import type { Machine } from '../machine.ts';
import type { Word } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { leaf } from '../fn.ts';

/**
 * Locks. A lock is a word: 0 free, n > 0 write-held by actor n - 1, n < 0 held by -n readers. Taking one
 * blocks (the actor is disabled), it never spins; spinning locks turn preemption off, sleeping ones must
 * not be taken where sleeping is not allowed.
 */

interface LockKind {
  readonly sleeps: boolean;
}

const SPINNING: LockKind = { sleeps: false };
const SLEEPING: LockKind = { sleeps: true };

function owner(m: Machine, word: Word): string {
  const value = m.cells.peek(word.cell);
  if (value > 0) return `${word.name}, held by ${m.actor(value - 1).name}`;
  return value < 0 ? `${word.name}, held by ${-value} reader${value < -1 ? 's' : ''}` : word.name;
}

function took(m: Machine, who: Actor, word: Word, kind: LockKind, value: number): undefined {
  if (kind.sleeps && !m.maySleep(who, word.name)) return undefined;
  m.cells.set(word.cell, value);
  const held = m.cellsOf(who.index).locks;
  m.cells.poke(held, m.cells.peek(held) + 1);
  if (!kind.sleeps && who.cpu >= 0) enterAtomic(m.cells, m.cpu(who.cpu));
  return undefined;
}

function dropped(m: Machine, who: Actor, word: Word, kind: LockKind, value: number): undefined {
  m.cells.set(word.cell, value);
  const held = m.cellsOf(who.index).locks;
  m.cells.poke(held, m.cells.peek(held) - 1);
  if (!kind.sleeps && who.cpu >= 0) leaveAtomic(m.cells, m.cpu(who.cpu));
  return undefined;
}

const writeLockOp = defineOp('lock', {
  guard: (read, _m, _who, [word]: [Word, LockKind]) => read.get(word.cell) === 0,
  exec: (m, who, [word, kind]) => {
    m.dereference(who, word.frame, word.generation, word.name);
    return took(m, who, word, kind, who.index + 1);
  },
  waitsFor: (m, _who, [word]) => owner(m, word),
});

const readLockOp = defineOp('read_lock', {
  guard: (read, _m, _who, [word]: [Word, LockKind]) => read.get(word.cell) <= 0,
  exec: (m, who, [word, kind]) => took(m, who, word, kind, m.cells.get(word.cell) - 1),
  waitsFor: (m, _who, [word]) => owner(m, word),
});

const tryLockOp = defineOp('trylock', {
  exec: (m, who, [word, kind]: [Word, LockKind]) => {
    if (m.cells.get(word.cell) !== 0) return false;
    took(m, who, word, kind, who.index + 1);
    return true;
  },
  describe: (_m, _who, _args, value) => ({ comment: String(value) }),
});

const unlockOp = defineOp('unlock', {
  exec: (m, who, [word, kind]: [Word, LockKind]) => dropped(m, who, word, kind, 0),
});

const readUnlockOp = defineOp('read_unlock', {
  exec: (m, who, [word, kind]: [Word, LockKind]) =>
    dropped(m, who, word, kind, m.cells.get(word.cell) + 1),
});

const byAddress = { address: [0] };

/** Takes a spinlock; preemption is off until it is dropped. */
export const spin_lock = leaf(function* spin_lock(lock: Word): Steps<void> {
  yield* perform(writeLockOp, [lock, SPINNING]);
}, byAddress);

/** Takes a spinlock if it is free; returns whether it did. */
export const spin_trylock = leaf(function* spin_trylock(lock: Word): Steps<boolean> {
  return yield* perform(tryLockOp, [lock, SPINNING]);
}, byAddress);

export const spin_unlock = leaf(function* spin_unlock(lock: Word): Steps<void> {
  yield* perform(unlockOp, [lock, SPINNING]);
}, byAddress);

/** Takes a mutex: may sleep. */
export const mutex_lock = leaf(function* mutex_lock(lock: Word): Steps<void> {
  yield* perform(writeLockOp, [lock, SLEEPING]);
}, byAddress);

export const mutex_unlock = leaf(function* mutex_unlock(lock: Word): Steps<void> {
  yield* perform(unlockOp, [lock, SLEEPING]);
}, byAddress);

/** Takes an rw_semaphore for writing: may sleep. */
export const down_write = leaf(function* down_write(lock: Word): Steps<void> {
  yield* perform(writeLockOp, [lock, SLEEPING]);
}, byAddress);

export const up_write = leaf(function* up_write(lock: Word): Steps<void> {
  yield* perform(unlockOp, [lock, SLEEPING]);
}, byAddress);

/** Takes an rw_semaphore for reading: may sleep. */
export const down_read = leaf(function* down_read(lock: Word): Steps<void> {
  yield* perform(readLockOp, [lock, SLEEPING]);
}, byAddress);

export const up_read = leaf(function* up_read(lock: Word): Steps<void> {
  yield* perform(readUnlockOp, [lock, SLEEPING]);
}, byAddress);

/** Takes an rwlock_t for reading. */
export const read_lock = leaf(function* read_lock(lock: Word): Steps<void> {
  yield* perform(readLockOp, [lock, SPINNING]);
}, byAddress);

export const read_unlock = leaf(function* read_unlock(lock: Word): Steps<void> {
  yield* perform(readUnlockOp, [lock, SPINNING]);
}, byAddress);

/** Takes an rwlock_t for writing. */
export const write_lock = leaf(function* write_lock(lock: Word): Steps<void> {
  yield* perform(writeLockOp, [lock, SPINNING]);
}, byAddress);

export const write_unlock = leaf(function* write_unlock(lock: Word): Steps<void> {
  yield* perform(unlockOp, [lock, SPINNING]);
}, byAddress);
