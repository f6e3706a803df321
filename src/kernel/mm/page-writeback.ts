import { fn, leaf } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE, swap_word, write_word } from '../../machine/ops/memory.ts';
import { write_disk } from '../../machine/ops/disk.ts';
import { memcpy_from_page } from './page-ref.ts';
import { folio_mkclean } from './rmap-clean.ts';
import type { Mm } from './types.ts';

/**
 * Writing dirty pages of files to disk.
 *
 * Guarantee: a store to a mapped page of a file is on disk, or the page is dirty, or an entry that maps it
 * says so (D1 of the specification).
 * Mechanism: before its contents are read for the disk, a page is made clean in this order: every entry that
 * maps it is made read-only and clean and is flushed (folio_mkclean), so that the next store faults and is
 * noticed; then the page's own dirty flag is taken off.
 * Why it suffices: entries are found through the reverse mapping, which a page leaves only when no CPU can
 * store to it through a cached translation any more (`delayed_rmap` in mmu_gather.ts).
 *
 * Assumes: the flag, not its tags in the page cache's tree; a page has one word of contents that matters.
 *
 * Follows linux v6.12 mm/page-writeback.c (folio_clear_dirty_for_io, folio_mark_dirty).
 */

/** PageAnon(): page->mapping says whose list of VMAs it is. Pages of no file are taken to be anonymous. */
export const folio_test_anon = fn(
  function* folio_test_anon(mm: Mm, page: Page): Steps<boolean> {
    const mapping = yield* READ_ONCE(mm.kernel.folio(page).mapping);
    return mapping === 0 || (mapping & PAGE_MAPPING_ANON) !== 0;
  },
  { hidden: true },
);

const PAGE_MAPPING_ANON = 1;

export const folio_mark_dirty = leaf(function* folio_mark_dirty(mm: Mm, page: Page): Steps<void> {
  yield* write_word(mm.kernel.folio(page).PG_dirty, 1);
});

const folio_test_clear_dirty = leaf(function* folio_test_clear_dirty(
  mm: Mm,
  page: Page,
): Steps<boolean> {
  return (yield* swap_word(mm.kernel.folio(page).PG_dirty, 0)) === 1;
});

/** Makes a page clean, if it is dirty: from now on a store to it is noticed again. */
export const folio_clear_dirty_for_io = fn(function* folio_clear_dirty_for_io(
  mm: Mm,
  page: Page,
): Steps<boolean> {
  if (yield* folio_mkclean(mm, page)) yield* folio_mark_dirty(mm, page);
  return yield* folio_test_clear_dirty(mm, page);
});

/** The disk reads the page's memory, at some moment after the I/O was started. */
const submit_bio = fn(function* submit_bio(page: Page): Steps<void> {
  const contents = yield* memcpy_from_page(page, 0);
  yield* write_disk(page, contents);
});

/** Writes the page to disk if it is dirty. */
export const writepage = fn(function* writepage(mm: Mm, page: Page): Steps<boolean> {
  if (!(yield* folio_clear_dirty_for_io(mm, page))) return false;
  yield* submit_bio(page);
  return true;
});
