import type { Word } from '../../src/machine/memory.ts';

/** The words of a small program, by name. */
export type Words = Readonly<Record<string, Word>>;

/** `array('a', 3)` declares `a0`, `a1`, `a2`; `element(w, 'a', i)` is the i-th of them. */
export function array(name: string, length: number, initial = 0): Record<string, number> {
  return Object.fromEntries(Array.from({ length }, (_, at) => [`${name}${at}`, initial]));
}

export function element(words: Words, name: string, index: number): Word {
  return words[`${name}${index}`] as Word;
}

/** `count` times `make(0)`, `make(1)`, ... */
export function times<T>(count: number, make: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at));
}
