import { expect, test } from 'vitest';
import { counts_open } from '../../src/machine/balance.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { WRITE_ONCE, fetch_add } from '../../src/machine/ops/memory.ts';
import { build, wordsOf } from '../zoo/program.ts';
import { found } from './found.ts';

type Words = Readonly<Record<'open' | 'dead', Word>>;

/** What is found if two do this at once. */
function twice(body: (words: Words) => Steps<unknown>): string[] {
  const program = build({
    words: { open: 0, dead: 0 },
    threads: (words) => [() => body(words), () => body(words)],
  });
  const { open, dead } = wordsOf(program);
  counts_open(program.machine, open as Word, dead);
  return found(program);
}

test('every start has its end', () => {
  const balanced = twice(function* ({ open }) {
    yield* fetch_add(open, 1);
    yield* fetch_add(open, -1);
  });
  expect(balanced).toEqual([]);
});

test('a start without its end', () => {
  const message = 'property: open is 2 when everybody has finished: a start without its end.';
  expect(twice(({ open }) => fetch_add(open, 1))).toEqual([message]);
});

test('an end without its start', () => {
  const message = 'property: open is -2 when everybody has finished: an end without its start.';
  expect(twice(({ open }) => fetch_add(open, -1))).toEqual([message]);
});

test('who is dead need not hear of the end', () => {
  const died = twice(function* ({ open, dead }) {
    yield* fetch_add(open, 1);
    yield* WRITE_ONCE(dead, 1);
  });
  expect(died).toEqual([]);
});
