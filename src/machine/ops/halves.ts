import type { EntryHalf } from '../halves.ts';
import { refuseWhole } from '../refusals.ts';
import type { Actor } from '../actor.ts';
import type { Entry, Word } from '../memory.ts';
import { leaf } from '../fn.ts';
import type { Half } from '../arch.ts';
import type { Machine } from '../machine.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import {
  asStored,
  changeEntry,
  describeStore,
  follow,
  mayStore,
  type Place,
} from './entry-store.ts';

/**
 * Accesses to one half of a 64-bit entry, as a 32-bit kernel makes them. Each half has its own footprint; an
 * access to the whole entry conflicts with both. What hardware sees is the entry as it is after each store,
 * so a half store whose combination with the other half is present can be walked at once.
 */

const readHalfOp = defineOp('read_half', {
  ordering: 'none', // a half that is in the buffer is there with all its bits
  exec: (m, who, [place, half]: [Place, Half]): EntryHalf => {
    const word = m.memory.resolve(place);
    refuseWhole(m.memory, word);
    if (follow(m, who, word)) return m.loadHalf(who, word, half);
    return halfOf(m, half, m.memory.entry(0n, 0));
  },
  describe: (_m, _who, _args, value) => ({ comment: hex(value as EntryHalf) }),
});

function halfOf(m: Machine, half: Half, of: Entry): EntryHalf {
  return (m.memory.halves as NonNullable<typeof m.memory.halves>).half(half, of);
}

function hex({ bits }: EntryHalf): string {
  return bits === 0 ? '0' : `0x${bits.toString(16).padStart(8, '0')}`;
}

/** What hardware sees from now on depends on the other half too: so a store reads that. */
function changeHalf(m: Machine, who: Actor, word: Word, { half, of }: EntryHalf): void {
  if (word.frame >= 0) m.cells.get(half === 'low' ? word.high : word.cell);
  changeEntry(m, who, word, () => m.memory.halves?.store(word, half, of));
}

const writeHalfOp = defineOp('write_half', {
  ordering: 'store', // translation caches see a half when it reaches memory
  exec: (m, who, [place, half, value]: [Place, Half, Entry]) => {
    const word = m.memory.resolve(place);
    if (!follow(m, who, word)) return undefined;
    refuseWhole(m.memory, word);
    if (!mayStore(m, who, word, value)) return undefined;
    const stored = halfOf(m, half, asStored(m, word, value));
    const act = (): void => changeHalf(m, who, word, stored);
    const remark = (): string | undefined => describeStore(m, place, value);
    m.later(who, { name: 'half', word, value: stored, act, remark });
    return undefined;
  },
  describe: (m, _who, [place, half, value]) => {
    const gone = describeStore(m, place, value);
    return { comment: gone ?? hex(halfOf(m, half, asStored(m, m.memory.resolve(place), value))) };
  },
});

const exchangeHalfOp = defineOp('xchg_half', {
  ordering: 'full',
  exec: (m, who, [place, half, value]: [Place, Half, Entry]): EntryHalf => {
    const word = m.memory.resolve(place);
    refuseWhole(m.memory, word);
    const old = halfOf(m, half, m.memory.entry(0n, 0));
    if (!follow(m, who, word) || !mayStore(m, who, word, value)) return old;
    const { halves } = m.memory;
    const before = halves?.load(word, half) ?? old;
    changeHalf(m, who, word, halfOf(m, half, asStored(m, word, value)));
    return before;
  },
  describe: (_m, _who, _args, value) => ({ comment: `was ${hex(value as EntryHalf)}` }),
});

const reliesOp = defineOp('relies', {
  ordering: 'none',
  exec: (m, who, [{ present, frame, generation }, what]: [Entry, string]) => {
    if (present) m.isWhole(who, frame, generation, what);
    return undefined;
  },
  describe: (_m, _who, [, what]) => ({ comment: what }),
  ghost: true,
});

/** A check, for a lookup that reads an entry and does nothing with it but believe it: `what` it does. */
export function* entry_relied_on(entry: Entry, what: string): Steps<void> {
  yield* perform(reliesOp, [entry, what]);
}

/** One 32-bit load of the low half of an entry. */
export const read_low = leaf(function* read_low(place: Place): Steps<EntryHalf> {
  return yield* perform(readHalfOp, [place, 'low']);
});

/** One 32-bit load of its high half. */
export const read_high = leaf(function* read_high(place: Place): Steps<EntryHalf> {
  return yield* perform(readHalfOp, [place, 'high']);
});

/** One 32-bit store of the low half of `value`. */
export const write_low = leaf(function* write_low(place: Place, value: Entry): Steps<void> {
  yield* perform(writeHalfOp, [place, 'low', value]);
});

/** One 32-bit store of its high half. */
export const write_high = leaf(function* write_high(place: Place, value: Entry): Steps<void> {
  yield* perform(writeHalfOp, [place, 'high', value]);
});

/** One atomic exchange of the low half by that of `value`. A full barrier. */
export const xchg_low = leaf(function* xchg_low(place: Place, value: Entry): Steps<EntryHalf> {
  return yield* perform(exchangeHalfOp, [place, 'low', value]);
});
