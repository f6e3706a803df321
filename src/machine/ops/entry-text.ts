import type { EntryNotes } from '../arch.ts';
import type { Machine } from '../machine.ts';
import type { Entry, Word } from '../memory.ts';
import { stageOf } from '../stages.ts';

/** What diagrams say of entries: `-> pteA`, `-> X, W A D`, `none`, `X unmapped, was W A D`. */

/** The entry as it is; `word` is where it stands. */
export function describeEntry(m: Machine, value: Entry, word?: Word): string {
  const tagged = word && m.memory.nameTagged(word, value);
  if (tagged !== undefined) return tagged;
  const mapping = word ? mappingOf(m, value, word) : value.present ? value : null;
  if (mapping) {
    const name = m.memory.frames[mapping.frame]?.name ?? `frame ${mapping.frame}`;
    return `-> ${name}${marksOf(mapping)}`;
  }
  if (value.none) return word && isData(m, word) ? '0' : 'none';
  const special = m.specialEntries.get(value.bits);
  if (special !== undefined) return special;
  const pointee = value.frame < 0 ? m.memory.frames[Number(value.bits)]?.name : undefined;
  return pointee ? `-> ${pointee}` : `0x${value.bits.toString(16)}`;
}

/** A word of a page's contents: no entry, and no pointer. */
function isData(m: Machine, { frame }: Word): boolean {
  return frame >= 0 && m.levelOf(frame) < 0;
}

type Mapping = Pick<Entry, 'frame'> & Partial<EntryNotes>;

/** Where the entry leads, be it for software only; null if nowhere. */
function mappingOf(m: Machine, value: Entry, word: Word): Mapping | null {
  const level = m.levelOf(word.frame);
  const notes = level < 0 ? null : m.arch.notes?.(level, value.bits);
  return notes ?? (value.present ? value : null);
}

function marksOf({ marks = '' }: Mapping): string {
  return marks === '' ? '' : `, ${marks}`;
}

/**
 * What a store to a hypervisor's or a device's entry made of it: their functions do not all say what they store,
 * and what was there matters as much. Undefined for the tables of the machine's own processors.
 */
export function describeChange(
  m: Machine,
  word: Word,
  before: Entry,
  after: Entry,
): string | undefined {
  if (stageOf(m.levelOf(word.frame)) === 0) return undefined;
  const text = describeEntry(m, after, word);
  if (before.none) return text;
  const old = mappingOf(m, before, word);
  const now = mappingOf(m, after, word);
  const was = old?.marks ? `, was ${old.marks}` : '';
  if (old && now?.frame === old.frame) return old.marks === now.marks ? text : `${text}${was}`;
  const name = old ? m.memory.frames[old.frame]?.name : undefined;
  if (!after.none || name === undefined) return `${text}, was ${describeEntry(m, before, word)}`;
  return `${name} ${before.table ? 'unlinked' : 'unmapped'}${was}`;
}
