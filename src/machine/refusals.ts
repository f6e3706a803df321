import { GracewalkError } from '../base/errors.ts';
import type { Memory, Word } from './memory.ts';

/** Accesses that do not fit their word. */

export function refuseNarrow(word: Word): void {
  if (word.high !== 0) return;
  throw new GracewalkError('E116', `${word.name} is a 32-bit word, not a page-table entry`, {
    help: 'READ_ONCE and WRITE_ONCE access plain words',
  });
}

/** A plain store to a table's entry: translation caches would not hear of it. The level of a page is for life. */
export function refuseTable(word: Word, level: number): void {
  if (level < 0) return;
  throw new GracewalkError(
    'E116',
    `${word.name} is a page-table entry, and a plain word is stored to it`,
    {
      notes: ['nobody who translates through the table would see it'],
      help: 'set_pte_at(), ptep_get_and_clear(), write_entry() and their like store entries',
    },
  );
}

/** Refuses what no 32-bit word can hold. */
export function refuseLarge(word: Word, value: number): void {
  if (typeof value === 'number' && (value | 0) === value) return;
  const kind = typeof value === 'number' ? '' : `${typeof value} `;
  throw new GracewalkError(
    'E121',
    `${kind}${String(value)} does not fit ${word.name}, a 32-bit word`,
    {
      help: 'plain words hold whole numbers from -2^31 to 2^31 - 1',
    },
  );
}

/** The half of a word that cannot have one. */
export function refuseWhole(memory: Memory, word: Word): void {
  refuseNarrow(word);
  if (memory.halves !== null) return;
  throw new GracewalkError('E116', `${word.name} is one word, and half of it is accessed`, {
    notes: [`${memory.arch.title} reads and writes entries whole`],
    help: 'use x86_pae, or the functions that ask the architecture: ptep_get(), set_pte()',
  });
}
