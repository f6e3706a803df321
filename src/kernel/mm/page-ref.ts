import { fn, leaf } from '../../machine/fn.ts';
import type { Entry, Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { read_entry, write_entry } from '../../machine/ops/memory.ts';
import {
  free_unreferenced,
  page_ref_get,
  page_ref_put,
  type MappingClaim,
} from '../../machine/ops/pages.ts';

/**
 * References on pages.
 *
 * Guarantee: a page is freed by whoever drops its last reference, exactly once. A speculative reference is
 * taken only on a page that still has one ("add unless zero"): turning 0 into 1 would let the page be freed
 * twice (M1.3). It may land on any live page, also one that the frame has become meanwhile; whoever takes
 * it must re-check what it is (P-reval) and everybody else must tolerate it.
 *
 * Follows linux v6.12 include/linux/page_ref.h and mm/gup.c.
 */

/** Takes a reference on a page found without a lock, if it has any. A full barrier on success. */
export const try_grab_folio_fast = leaf(
  function* try_grab_folio_fast(page: Page, claim: MappingClaim | null): Steps<boolean> {
    return yield* page_ref_get(page, true, claim);
  },
  {
    protects: {
      what: 'the condition of try_grab_folio_fast()',
      without: function* (page, claim) {
        return yield* page_ref_get(page, false, claim);
      },
    },
  },
);

/** Drops a reference; frees the page with the last one. */
export const folio_put = fn(function* folio_put(page: Page): Steps<void> {
  if (yield* put_page_testzero(page)) yield* __folio_put(page);
});

/** Drops a reference; `true` if it was the last. */
export const put_page_testzero = leaf(function* put_page_testzero(page: Page): Steps<boolean> {
  return yield* page_ref_put(page);
});

/** Returns a page without references to the allocator. */
export const __folio_put = leaf(function* __folio_put(page: Page): Steps<void> {
  yield* free_unreferenced(page);
});

/** Gives back what try_grab_folio_fast() took. */
export const gup_put_folio = fn(function* gup_put_folio(page: Page): Steps<void> {
  yield* folio_put(page);
});

/** Reads a `struct page *` from kernel memory in a page. */
export const read_pointer = leaf(function* read_pointer(page: Page, offset: number): Steps<Page> {
  const value = yield* read_entry({ ...page, index: offset >> 3 });
  return Object.freeze({ frame: Number(value.bits), generation: value.generation });
});

/** A word that is no page-table entry. */
function data(bits: bigint, generation: number): Entry {
  const nothing = { present: false, table: false, none: false, writable: false, frame: -1 };
  return { bits, generation, ...nothing };
}

/** Writes a `struct page *` to kernel memory in a page. */
export const write_pointer = leaf(function* write_pointer(
  page: Page,
  offset: number,
  value: Page,
): Steps<void> {
  yield* write_entry({ ...page, index: offset >> 3 }, data(BigInt(value.frame), value.generation));
});

/**
 * Takes a reference without looking whether there is one: for callers that hold one already. On a page found
 * without a lock it revives what has been freed (M1.3).
 */
export const folio_ref_inc = leaf(function* folio_ref_inc(
  page: Page,
  claim: MappingClaim | null,
): Steps<boolean> {
  return yield* page_ref_get(page, false, claim);
});

/** memcpy_from_page() of one word: whoever holds a reference may read what the page holds. */
export const memcpy_from_page = leaf(function* memcpy_from_page(
  page: Page,
  offset: number,
): Steps<bigint> {
  const { bits } = yield* read_entry({ ...page, index: offset >> 3 });
  return bits;
});

/** memcpy_to_page() of one word. */
export const memcpy_to_page = leaf(function* memcpy_to_page(
  page: Page,
  offset: number,
  bits: bigint,
): Steps<void> {
  yield* write_entry({ ...page, index: offset >> 3 }, data(bits, 0));
});
