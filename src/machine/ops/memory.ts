import { refuseNarrow, type Entry, type Word } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { leaf } from '../fn.ts';
import { lockedUnless } from './control.ts';
import {
  asStored,
  describeAtomic,
  describeStore,
  follow,
  mayStore,
  replaceEntry,
  storeEntry,
  type Place,
} from './entry-store.ts';

import { describeEntry } from './entry-text.ts';
import type { Machine } from '../machine.ts';
import { refuseTable } from '../refusals.ts';
import { followEntry } from './follow.ts';

export type { Place } from './entry-store.ts';

/** Plain and atomic accesses to words. Every one first follows its pointer: see `Machine.dereference`. */

/** A store by an instruction that does not wait in a store buffer. */
function put(m: Machine, word: Word, value: number): void {
  refuseTable(word, m.levelOf(word.frame));
  m.memory.store(word, value);
}

const readOp = defineOp('read', {
  ordering: 'none',
  exec: (m, who, [word]: [Word]) => (follow(m, who, word) ? m.load(who, word) : 0),
  describe: (m, _who, [word], value) => ({ comment: m.memory.nameValue(word, value as number) }),
});

const writeOp = defineOp('write', {
  ordering: 'store',
  learns: 'stored',
  exec: (m, who, [word, value]: [Word, number]) => {
    if (follow(m, who, word)) m.store(who, word, value);
    return undefined;
  },
});

/** The same by a function that is given the value, which is what its diagram must show. */
const storeOp = defineOp('write', {
  ...writeOp,
  exec: (m, who, [word, value]: [Word, number]) => {
    if (follow(m, who, word)) m.store(who, word, value, () => m.memory.nameValue(word, value));
    return undefined;
  },
  // What is in a store buffer is told when it reaches memory.
  describe: (m, who, [word, value]) =>
    m.buffers?.has(who) ? {} : { comment: m.memory.nameValue(word, value) },
});

const exchangeOp = defineOp('xchg', {
  ordering: 'full',
  exec: (m, who, [word, value]: [Word, number]) => {
    if (!follow(m, who, word)) return 0;
    const old = m.memory.load(word);
    put(m, word, value);
    return old;
  },
  describe: (_m, _who, _args, value) => ({ comment: `was ${String(value)}` }),
});

const compareOp = defineOp('cmpxchg', {
  ordering: 'full', // also if it fails: the instruction is locked whatever it finds
  exec: (m, who, [word, old, value]: [Word, number, number]) => {
    if (!follow(m, who, word)) return false;
    if (m.memory.load(word) !== old) return false; // a failed compare is a read
    put(m, word, value);
    return true;
  },
  describe: (_m, _who, _args, value) => ({ comment: value === true ? 'true' : 'false' }),
});

const compareValueOp = defineOp('cmpxchg_word', {
  ordering: 'full',
  exec: (m, who, [word, old, value]: [Word, number, number]): number => {
    if (!follow(m, who, word)) return old;
    const before = m.memory.load(word);
    if (before === old) put(m, word, value);
    return before;
  },
  describe: (m, _who, [word], before) => ({
    comment: `was ${m.memory.nameValue(word, before as number)}`,
  }),
});

const addOp = defineOp('add', {
  ordering: 'full',
  exec: (m, who, [word, amount]: [Word, number]) => {
    if (!follow(m, who, word)) return 0;
    const old = m.memory.load(word);
    put(m, word, old + amount);
    return old;
  },
});

const addUnlessOp = defineOp('add_unless', {
  ordering: 'guarded', // a load, and a locked instruction only if there is something to add
  guard: (read, m, who, [word, , unless]: [Word, number, number]) =>
    lockedUnless(read, m, who, word, (value) => value === unless),
  exec: (m, who, [word, amount, unless]: [Word, number, number]) => {
    if (!follow(m, who, word)) return false;
    const old = m.load(who, word);
    if (old === unless) return false;
    put(m, word, old + amount);
    return true;
  },
  describe: (_m, _who, _args, value) => ({ comment: value === true ? 'true' : 'false' }),
});

/** One load, for functions that are leaves themselves. */
export function* read_word(word: Word): Steps<number> {
  return yield* perform(readOp, [word]);
}

/** One store, for functions that are leaves themselves. */
export function* write_word(word: Word, value: number): Steps<void> {
  yield* perform(writeOp, [word, value]);
}

/** One store, for leaves whose last argument is the value. */
export function* store_word(word: Word, value: number): Steps<void> {
  yield* perform(storeOp, [word, value]);
}

/** One atomic exchange, for functions that are leaves themselves. */
export function* swap_word(word: Word, value: number): Steps<number> {
  return yield* perform(exchangeOp, [word, value]);
}

/** One atomic addition, for functions that are leaves themselves; returns the value before. */
export function* add_word(word: Word, amount: number): Steps<number> {
  return yield* perform(addOp, [word, amount]);
}

/** cmpxchg(): stores `value` if the word says `old`; returns what it said. */
export function* cmpxchg_word(word: Word, old: number, value: number): Steps<number> {
  return yield* perform(compareValueOp, [word, old, value]);
}

/** A plain load that the compiler may not tear, fuse or repeat. */
export const READ_ONCE = leaf(function* READ_ONCE(word: Word): Steps<number> {
  return yield* perform(readOp, [word]);
});

/** A plain store that the compiler may not tear, fuse or invent. */
export const WRITE_ONCE = leaf(function* WRITE_ONCE(word: Word, value: number): Steps<void> {
  yield* perform(storeOp, [word, value]);
});

/** For atomic leaves: what is left of an exchange without its atomicity. */
export function* xchg_in_two_steps(word: Word, value: number): Steps<number> {
  const old = yield* READ_ONCE(word);
  yield* WRITE_ONCE(word, value);
  return old;
}

/** Atomically replaces the value and returns the old one. A full barrier. */
export const xchg = leaf(
  function* xchg(word: Word, value: number): Steps<number> {
    return yield* perform(exchangeOp, [word, value]);
  },
  { address: [0], protects: { what: 'the atomicity of xchg()', without: xchg_in_two_steps } },
);

function* cmpxchg_in_two_steps(word: Word, old: number, value: number): Steps<boolean> {
  if ((yield* READ_ONCE(word)) !== old) return false;
  yield* WRITE_ONCE(word, value);
  return true;
}

/** Atomically replaces `old` by `value`; `false`, and only a read, if the word says something else. */
export const try_cmpxchg = leaf(
  function* try_cmpxchg(word: Word, old: number, value: number): Steps<boolean> {
    return yield* perform(compareOp, [word, old, value]);
  },
  {
    address: [0, 1],
    protects: { what: 'the atomicity of try_cmpxchg()', without: cmpxchg_in_two_steps },
  },
);

/** For atomic leaves: what is left of an addition without its atomicity. */
export function* add_in_two_steps(word: Word, amount: number): Steps<number> {
  const old = yield* READ_ONCE(word);
  yield* WRITE_ONCE(word, old + amount);
  return old;
}

/** Atomically adds and returns the value before. A full barrier. */
export const fetch_add = leaf(
  function* fetch_add(word: Word, amount: number): Steps<number> {
    return yield* perform(addOp, [word, amount]);
  },
  { address: [0], protects: { what: 'the atomicity of fetch_add()', without: add_in_two_steps } },
);

/** Atomically adds unless the value is `unless`; returns whether it did. A full barrier on success. */
export const atomic_add_unless = leaf(
  function* atomic_add_unless(word: Word, amount: number, unless: number): Steps<boolean> {
    return yield* perform(addUnlessOp, [word, amount, unless]);
  },
  {
    address: [0],
    protects: {
      what: 'the condition of atomic_add_unless()',
      without: function* (word, amount) {
        yield* fetch_add(word, amount);
        return true;
      },
    },
  },
);

const readEntryOp = defineOp('read_entry', {
  ordering: 'guarded', // a load, but where only a part of it could be forwarded it waits
  guard: (read, m, who, [place]: [Place]) =>
    m.buffers === null || !m.buffers.holdsPart(read, who, m.memory.resolve(place)),
  exec: (m, who, [place]: [Place]): Entry => {
    const word = m.memory.resolve(place);
    if (!followEntry(m, who, place)) return m.memory.entry(0n, 0);
    return m.loadWide(who, word);
  },
  describe: (m, _who, [place], value) => ({
    comment: describeEntry(m, value as Entry, m.memory.resolve(place)),
  }),
});

const writeEntryOp = defineOp('write_entry', {
  ordering: 'store', // translation caches see an entry when it reaches memory
  learns: 'stored',
  exec: (m, who, [place, value]: [Place, Entry]) => {
    const word = m.memory.resolve(place);
    if (!followEntry(m, who, place)) return undefined;
    refuseNarrow(word);
    if (!mayStore(m, who, word, value)) return undefined;
    const stored = asStored(m, word, value);
    const act = (): void => replaceEntry(m, who, word, stored);
    const remark = (): string | undefined => describeStore(m, place, value);
    m.later(who, { name: 'entry', word, value: stored, act, remark });
    return undefined;
  },
  describe: (m, _who, [place, value]) => ({ comment: describeStore(m, place, value) }),
});

const exchangeEntryOp = defineOp('xchg_entry', {
  ordering: 'full',
  exec: (m, who, [place, value]: [Place, Entry]): Entry => {
    const word = m.memory.resolve(place);
    if (!followEntry(m, who, place) || !mayStore(m, who, word, value)) return m.memory.entry(0n, 0);
    const old = m.memory.loadWide(word);
    storeEntry(m, who, word, asStored(m, word, value));
    return old;
  },
  // What was there; if nothing was, what is.
  describe: (m, _who, [place, value], old) => ({
    comment: describeAtomic(
      m,
      place,
      value,
      (old as Entry).none && value.present ? value : (old as Entry),
    ),
  }),
});

const compareEntryOp = defineOp('cmpxchg_entry', {
  ordering: 'full',
  exec: (m, who, [place, old, value]: [Place, Entry, Entry]): boolean => {
    const word = m.memory.resolve(place);
    if (!followEntry(m, who, place) || !mayStore(m, who, word, value)) return false;
    if (m.memory.loadWide(word).bits !== old.bits) return false; // a failed compare is a read
    storeEntry(m, who, word, asStored(m, word, value));
    return true;
  },
  describe: (m, _who, [place, , value], done) => ({
    comment: done === true ? `true: ${describeAtomic(m, place, value, value)}` : 'false',
  }),
});

const andEntryOp = defineOp('and_entry', {
  ordering: 'full',
  exec: (m, who, [place, mask]: [Place, bigint]): Entry => {
    const word = m.memory.resolve(place);
    if (!followEntry(m, who, place)) return m.memory.entry(0n, 0);
    const old = m.memory.loadWide(word);
    const value = m.memory.entry(old.bits & mask, old.generation, m.levelOf(word.frame));
    storeEntry(m, who, word, value);
    return old;
  },
  describe: (m, _who, [place, mask], old) => {
    const word = m.memory.resolve(place);
    const { bits, generation } = old as Entry;
    const now = m.memory.entry(bits & mask, generation, m.levelOf(word.frame));
    return { comment: describeAtomic(m, place, now, old as Entry) };
  },
});

/** One atomic 64-bit compare-and-exchange of an entry. The frames' generations are no part of the comparison. */
export function* cmpxchg_entry(place: Place, old: Entry, value: Entry): Steps<boolean> {
  return yield* perform(compareEntryOp, [place, old, value]);
}

/** One atomic 64-bit AND (clear_bit(), atomic64_fetch_and()), whatever the entry says; returns what it said. */
export function* and_entry(place: Place, mask: bigint): Steps<Entry> {
  return yield* perform(andEntryOp, [place, mask]);
}

/** One 64-bit load of a page-table entry (or another pointer-sized word). */
export function* read_entry(place: Place): Steps<Entry> {
  return yield* perform(readEntryOp, [place]);
}

/** One 64-bit store of a page-table entry. Whoever can walk to it may cache it from now on. */
export function* write_entry(place: Place, value: Entry): Steps<void> {
  yield* perform(writeEntryOp, [place, value]);
}

/** One atomic 64-bit exchange of a page-table entry. */
export function* xchg_entry(place: Place, value: Entry): Steps<Entry> {
  return yield* perform(exchangeEntryOp, [place, value]);
}
