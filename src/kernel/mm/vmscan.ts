import { fn } from '../../machine/fn.ts';
import { no } from '../../machine/protection.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE } from '../../machine/ops/memory.ts';
import { contents_discarded } from '../../machine/ops/pages.ts';
import { spin_lock, spin_unlock } from '../../machine/ops/locks.ts';
import {
  PAGE_MAPPING_ANON,
  __filemap_remove_folio,
  folio_trylock,
  folio_unlock,
  type AddressSpace,
} from './filemap.ts';
import { folio_mapping } from './gup-folio.ts';
import {
  __folio_put,
  folio_get,
  folio_put,
  folio_ref_freeze,
  folio_ref_unfreeze,
} from './page-ref.ts';
import { folio_mapcount } from './rmap.ts';
import { try_to_unmap, try_to_unmap_flush } from './try_to_unmap.ts';
import type { Mm } from './types.ts';

/**
 * Reclaim of one page.
 *
 * Guarantee: a page is given back only if nobody but reclaim and the page cache holds it, and only if it holds
 * nothing that is not elsewhere. Mechanism: the references are compared and taken away in one atomic step
 * (freeze); after that nobody can take one. Only then is the dirty flag looked at: whoever dirtied the page
 * held a reference while doing it, and set the flag before dropping it.
 * Why that order: tested before, the flag may be set, and the reference dropped, between the two.
 * Assumes: the page has been unmapped (mm/try_to_unmap.ts), so nobody finds it without a reference.
 *
 * Follows linux v6.12 mm/vmscan.c (shrink_folio_list, __remove_mapping), without writeback and the LRU.
 */

export const folio_test_dirty = fn(
  function* folio_test_dirty(mm: Mm, page: Page): Steps<boolean> {
    return (yield* READ_ONCE(mm.kernel.folio(page).PG_dirty)) === 1;
  },
  { hidden: true, protects: { what: 'folio_test_dirty()', without: no } },
);

/** The references of the page cache and of who isolated the page. */
const EXPECTED = 2;

/** Takes the page out of its file. True: it has no reference left. */
export const __remove_mapping = fn(function* __remove_mapping(
  mm: Mm,
  file: AddressSpace,
  page: Page,
): Steps<boolean> {
  yield* spin_lock(file.xa_lock);
  const frozen = yield* folio_ref_freeze(mm.kernel, page, EXPECTED);
  const removed = frozen && !(yield* folio_test_dirty(mm, page)); // only now: see above
  if (frozen && !removed) yield* folio_ref_unfreeze(page, EXPECTED);
  if (removed) {
    yield* contents_discarded(page);
    yield* __filemap_remove_folio(mm.kernel, file, page);
  }
  yield* spin_unlock(file.xa_lock);
  return removed;
});

/** Is the page reclaim's alone now? Lazily freed memory has no file: one reference is left to freeze. */
const remove_page = fn(
  function* remove_page(mm: Mm, page: Page): Steps<boolean> {
    const mapping = yield* folio_mapping(mm, page);
    if ((mapping & PAGE_MAPPING_ANON) !== 0) return yield* folio_ref_freeze(mm.kernel, page, 1);
    const file = mm.kernel.file(mapping);
    return file !== undefined && (yield* __remove_mapping(mm, file, page));
  },
  { hidden: true },
);

/** shrink_folio_list() for one page; true if it was given back. */
export const shrink_folio_list = fn(function* shrink_folio_list(
  mm: Mm,
  page: Page,
): Steps<boolean> {
  yield* folio_get(page); // folio_isolate_lru()
  if (!(yield* folio_trylock(mm.kernel, page))) {
    yield* folio_put(page);
    return false;
  }
  const deferred = yield* try_to_unmap(mm, page);
  const isMapped = (yield* folio_mapcount(mm, page)) > 0;
  const reclaimed = !isMapped && (yield* remove_page(mm, page));
  yield* folio_unlock(mm.kernel, page);
  yield* try_to_unmap_flush(deferred); // before the page can be anybody else's
  if (reclaimed) yield* __folio_put(page);
  else yield* folio_put(page); // back to the LRU
  return reclaimed;
});
