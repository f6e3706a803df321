import type { Actor } from '../actor.ts';
import type { Cell } from '../cells.ts';
import type { Machine } from '../machine.ts';
import type { Entry, EntryPointer, Word } from '../memory.ts';
import { describeChange, describeEntry } from './entry-text.ts';

/** What stores to words and entries have in common, whole or by halves. */

/** A word, or a pointer to a table entry computed from a value that was read. */
export type Place = Word | EntryPointer;

export function follow(m: Machine, who: Actor, word: Word): boolean {
  return m.dereference(who, word.frame, word.generation, word.name);
}

/** The bits of an empty entry are the architecture's. */
export function asStored(m: Machine, word: Word, value: Entry): Entry {
  const level = word.frame < 0 ? -1 : m.cells.peek(m.memory.info(word.frame).level);
  return value.none && level >= 0 ? m.memory.entry(m.arch.none(level), 0, level) : value;
}

/** An entry reaches memory: whoever can walk to it may cache it from now on. */
export function storeEntry(m: Machine, who: Actor, word: Word, value: Entry): void {
  changeEntry(m, who, word, () => m.memory.storeWide(word, value));
}

/** The same by somebody who is not told what he replaces. */
export function replaceEntry(m: Machine, who: Actor, word: Word, value: Entry): void {
  const before = m.memory.peekWide(word);
  storeEntry(m, who, word, value);
  if (m.levelOf(word.frame) < 0) return;
  const after = m.memory.peekWide(word);
  for (const sanitizer of m.sanitizers) sanitizer.entryReplaced?.(m, who, word, before, after);
}

/** What the last store to an entry has replaced, for diagrams. */
const replaced: WeakMap<Machine, Entry> = new WeakMap();

/** Does `store` to a word, of which hardware may see that it now says something else. */
export function changeEntry(m: Machine, who: Actor, word: Word, store: () => void): void {
  const level = word.frame < 0 ? -1 : m.cells.peek(m.memory.info(word.frame).level);
  const before = m.memory.peekWide(word);
  replaced.set(m, before);
  store();
  if (level < 0) {
    for (const sanitizer of m.sanitizers) sanitizer.dataStored?.(m, who, word);
    return;
  }
  const after = m.memory.peekWide(word);
  m.relink(before, after);
  m.translations.entryStored(who, word.address, word.frame, level, after.bits);
  for (const sanitizer of m.sanitizers) {
    sanitizer.entryChanged?.(m, who, word, before, after);
    sanitizer.entryStored?.(m, who, word.address);
  }
}

/** Whoever stores an entry relies on what he made it of. */
export function mayStore(m: Machine, who: Actor, word: Word, value: Entry): boolean {
  return (
    !value.present ||
    m.isWhole(who, value.frame, value.generation, `stores to ${word.name} what it made of`)
  );
}

/** What a store to a table takes away, which is what the reader of a diagram wants to know. */
export function describeStore(m: Machine, place: Place, value: Entry): string | undefined {
  const word = m.memory.resolve(place);
  const tagged = m.memory.nameTagged(word, value);
  if (tagged !== undefined) return tagged;
  const before = replacedBy(m, word);
  if (!before) return undefined;
  const change = describeChange(m, word, before, asStored(m, word, value));
  if (change !== undefined) return change;
  const name = m.memory.frames[before.frame]?.name;
  if (!before.present || !value.none || name === undefined) return undefined;
  return before.table ? `${name} unlinked` : `${name} unmapped`;
}

/** What an atomic store made of an entry: in full where software has marks of its own, else `otherwise`. */
export function describeAtomic(m: Machine, place: Place, value: Entry, otherwise: Entry): string {
  const word = m.memory.resolve(place);
  const before = replacedBy(m, word);
  const change = before && describeChange(m, word, before, asStored(m, word, value));
  return change ?? describeEntry(m, otherwise, word);
}

/** What the entry said before the step; undefined if the step has not stored to it, or it is no entry. */
function replacedBy(m: Machine, word: Word): Entry | undefined {
  return m.levelOf(word.frame) >= 0 && isAccessed(m, word.cell) ? replaced.get(m) : undefined;
}

function isAccessed(m: Machine, cell: Cell): boolean {
  return (m.cells.head[cell] as number) >= m.cells.start;
}
