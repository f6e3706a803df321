import { fn, leaf } from '../../machine/fn.ts';
import type { Entry, Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import {
  READ_ONCE,
  WRITE_ONCE,
  add_word,
  read_entry,
  write_entry,
} from '../../machine/ops/memory.ts';
import {
  free_unreferenced,
  page_ref_freeze,
  page_ref_get,
  page_ref_put,
  page_ref_unfreeze,
  type MappingClaim,
} from '../../machine/ops/pages.ts';
import type { Kernel } from './types.ts';

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

/** Drops several references; frees the page with the last one. */
export const folio_put_refs = fn(function* folio_put_refs(page: Page, refs: number): Steps<void> {
  if (yield* folio_ref_sub_and_test(page, refs)) yield* __folio_put(page);
});

const folio_ref_sub_and_test = leaf(function* folio_ref_sub_and_test(
  page: Page,
  refs: number,
): Steps<boolean> {
  return yield* page_ref_put(page, refs);
});

/** Takes a reference on a page of which the caller knows that it has one. */
export const folio_get = leaf(function* folio_get(page: Page): Steps<void> {
  yield* page_ref_get(page, false, null);
});

/** Adds to the references that the caller holds already. */
export const folio_ref_add = leaf(function* folio_ref_add(
  kernel: Kernel,
  page: Page,
  refs: number,
): Steps<void> {
  yield* add_word(kernel.folio(page)._refcount, refs);
});

/** folio_ref_count(). */
export const folio_ref_count = fn(
  function* folio_ref_count(kernel: Kernel, page: Page): Steps<number> {
    return yield* READ_ONCE(kernel.folio(page)._refcount);
  },
  { hidden: true },
);

function* freeze_in_two_steps(kernel: Kernel, page: Page, expected: number): Steps<boolean> {
  const { _refcount } = kernel.folio(page);
  if ((yield* READ_ONCE(_refcount)) !== expected) return false;
  yield* WRITE_ONCE(_refcount, 0);
  return true;
}

/**
 * Takes all references away if there are exactly `expected` (compare and exchange with 0). Speculative
 * references may make it fail, and cannot be taken after it has succeeded (I4).
 */
export const folio_ref_freeze = leaf(
  function* folio_ref_freeze(_kernel: Kernel, page: Page, expected: number): Steps<boolean> {
    return yield* page_ref_freeze(page, expected);
  },
  { protects: { what: 'the atomicity of folio_ref_freeze()', without: freeze_in_two_steps } },
);

/** Gives back what folio_ref_freeze() took. */
export const folio_ref_unfreeze = leaf(function* folio_ref_unfreeze(
  page: Page,
  refs: number,
): Steps<void> {
  yield* page_ref_unfreeze(page, refs);
});

/** Reads a `struct page *` from kernel memory in a page. */
export const read_pointer = leaf(function* read_pointer(page: Page, offset: number): Steps<Page> {
  const value = yield* read_entry({ ...page, index: offset >> 3 });
  return Object.freeze({ frame: Number(value.bits), generation: value.generation });
});

/** A `struct page *` as a word of kernel memory. */
export function pointer_to(page: Page): Entry {
  return data(BigInt(page.frame), page.generation);
}

/** NULL as such a word. */
export const NO_ENTRY: Entry = Object.freeze(data(0n, 0));

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
  yield* write_entry({ ...page, index: offset >> 3 }, pointer_to(value));
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
