import { fn, leaf } from '../../../machine/fn.ts';
import { keepCopy } from '../../../machine/copies.ts';
import type { Machine } from '../../../machine/machine.ts';
import { PAGE_SIZE, type Page, type Word } from '../../../machine/memory.ts';
import type { Steps } from '../../../machine/op.ts';
import { write_entry } from '../../../machine/ops/memory.ts';
import { memcpy_from_page } from '../../mm/page-ref.ts';

/**
 * What others have of a page that the guest writes to: user space its copy on another machine, KVM the shadow of
 * a page table. In the end the copy is what the page says, or something tells that it is old.
 */
export interface PageCopy {
  readonly page: Page;
  readonly offset: number;
  readonly word: Word;
}

/** A copy of the word at `offset` in a page, up to date when the scenario begins. `told`: who tells of changes. */
export function new_copy(
  machine: Machine,
  name: string,
  page: Page,
  offset: number,
  told: readonly Word[],
): PageCopy {
  const of = machine.memory.at(page.frame * PAGE_SIZE + offset, page.generation);
  return Object.freeze({ page, offset, word: keepCopy(machine, of, name, told) });
}

const store_copy = leaf(function* store_copy(copy: Word, value: bigint): Steps<void> {
  const nothing = { present: false, table: false, none: false, writable: false, frame: -1 };
  yield* write_entry(copy, { bits: value, generation: 0, ...nothing });
});

/** The copy becomes what was read from the page earlier. */
export const copy_word = fn(
  function* copy_word({ word }: PageCopy, value: bigint): Steps<void> {
    yield* store_copy(word, value);
  },
  { hidden: true },
);

/** Copies what the page says now. */
export const copy_page = fn(function* copy_page({ page, offset, word }: PageCopy): Steps<void> {
  const value = yield* memcpy_from_page(page, offset);
  yield* store_copy(word, value);
});
