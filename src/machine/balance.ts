import type { Machine } from './machine.ts';
import type { Word } from './memory.ts';

/** Words that count what has begun and not ended yet: see sanitizers/balance.ts. Set-up, no step. */
const KEY = 'counts of what is open';

interface OpenCount {
  readonly word: Word;
  /** Set: who counts is told nothing any more, and lets nobody in. */
  readonly dead: Word | null;
}

/** From now on `word` must be 0 whenever everybody has finished, unless `dead` is set then. Returns it. */
export function counts_open(machine: Machine, word: Word, dead: Word | null = null): Word {
  machine.objects.set(KEY, [...countsOfOpen(machine), { word, dead }]);
  return word;
}

export function countsOfOpen(machine: Machine): readonly OpenCount[] {
  return (machine.objects.get(KEY) as readonly OpenCount[] | undefined) ?? [];
}
