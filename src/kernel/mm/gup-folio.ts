import { holds, no } from '../../machine/protection.ts';
import { fn, leaf } from '../../machine/fn.ts';
import type { Entry, Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE, add_word } from '../../machine/ops/memory.ts';
import { smp_mb__after_atomic, smp_rmb } from '../../machine/ops/store-buffer.ts';
import { PAGE_MAPPING_ANON, shmem_mapping } from './filemap.ts';
import { folio_put, folio_put_refs, folio_ref_add, try_grab_folio_fast } from './page-ref.ts';
import type { Mm } from './types.ts';

/**
 * What GUP-fast does with a folio: taking references and pins, and deciding whether it may be pinned.
 *
 * Guarantee: a pin is visible to whoever asks folio_maybe_dma_pinned() before the entries are read again.
 * Mechanism: a small folio has no counter of its own for pins; a pin is GUP_PIN_COUNTING_BIAS references. A
 * large one has `_pincount`. Both are raised after the speculative reference and are followed by a barrier.
 * Why it suffices: whoever wants to share or replace the page clears the entry, has a barrier, and looks for
 * pins. Either he sees the pin, or the entry has changed when it is read again (Dekker; I3).
 *
 * Follows linux v6.12 mm/gup.c, without CONFIG_SECRETMEM and without memory that cannot be pinned for long.
 */
export const FOLL_WRITE: number = 1 << 0;
/** The pin may last for ever: no pages of file systems that write back. */
export const FOLL_LONGTERM: number = 1 << 8;
/** The caller accesses the contents of the page (DMA): it must stay the page of this address. */
export const FOLL_PIN: number = 1 << 19;

export const GUP_PIN_COUNTING_BIAS = 1024;

/** folio_test_large(): a flag of the struct page. */
export const folio_test_large = fn(
  function* folio_test_large(mm: Mm, page: Page): Steps<boolean> {
    return (yield* READ_ONCE(mm.kernel.folio(page).PG_head)) === 1;
  },
  { hidden: true },
);

const pincount_add = leaf(function* pincount_add(mm: Mm, page: Page, pins: number): Steps<number> {
  return yield* add_word(mm.kernel.folio(page)._pincount, pins);
});

/** The FOLL_PIN half of try_grab_folio_fast(): makes a reference that was just taken a pin. */
const folio_add_pin = fn(function* folio_add_pin(mm: Mm, page: Page): Steps<void> {
  if (yield* folio_test_large(mm, page)) yield* pincount_add(mm, page, 1);
  else yield* folio_ref_add(mm.kernel, page, GUP_PIN_COUNTING_BIAS - 1);
  yield* smp_mb__after_atomic(); // the pin before the second look at the entries (M1.14)
});

/** try_grab_folio_fast() with the flags of GUP: a reference on the page found at `addr`, or a pin. */
export const gup_grab_folio = fn(
  function* gup_grab_folio(mm: Mm, page: Page, addr: number, flags: number): Steps<boolean> {
    const pin = (flags & FOLL_PIN) !== 0;
    if (!(yield* try_grab_folio_fast(page, { root: mm.pgd, address: addr, pin }))) return false;
    if (pin) yield* folio_add_pin(mm, page);
    return true;
  },
  { hidden: true },
);

/** Gives back what gup_grab_folio() took. */
export const gup_put_folio = fn(function* gup_put_folio(
  mm: Mm,
  page: Page,
  flags: number,
): Steps<void> {
  if ((flags & FOLL_PIN) === 0) {
    yield* folio_put(page);
  } else if (yield* folio_test_large(mm, page)) {
    yield* pincount_add(mm, page, -1);
    yield* folio_put(page);
  } else {
    yield* folio_put_refs(page, GUP_PIN_COUNTING_BIAS);
  }
});

/** unpin_user_page(). */
export const unpin_user_page = fn(function* unpin_user_page(mm: Mm, page: Page): Steps<void> {
  yield* gup_put_folio(mm, page, FOLL_PIN);
});

/** folio_maybe_dma_pinned(): of a small folio only a guess, because so many references look like a pin. */
export const folio_maybe_dma_pinned = fn(
  function* folio_maybe_dma_pinned(mm: Mm, page: Page): Steps<boolean> {
    const folio = mm.kernel.folio(page);
    if (yield* folio_test_large(mm, page)) return (yield* READ_ONCE(folio._pincount)) > 0;
    return (yield* READ_ONCE(folio._refcount)) >= GUP_PIN_COUNTING_BIAS;
  },
  { protects: { what: 'folio_maybe_dma_pinned()', without: no } },
);

/** folio->mapping, which truncation sets to NULL at any moment. */
export const folio_mapping = fn(
  function* folio_mapping(mm: Mm, page: Page): Steps<number> {
    return yield* READ_ONCE(mm.kernel.folio(page).mapping);
  },
  { hidden: true },
);

const FOR_LONG_WRITING = FOLL_PIN | FOLL_LONGTERM | FOLL_WRITE;

/**
 * gup_fast_folio_allowed(): may the folio be pinned for long writing? Asked only with a reference held and
 * the entries unchanged since: before that the folio can be another one by the time it is pinned (M1.12).
 * `mapping` is read once; the address_space that it points to is freed by RCU, and interrupts are off.
 */
export const gup_fast_folio_allowed = fn(
  function* gup_fast_folio_allowed(mm: Mm, page: Page, flags: number): Steps<boolean> {
    if ((flags & FOR_LONG_WRITING) !== FOR_LONG_WRITING) return true;
    const mapping = yield* folio_mapping(mm, page);
    if (mapping === 0) return false; // truncated
    if ((mapping & PAGE_MAPPING_ANON) !== 0) return true;
    return yield* shmem_mapping(mm.kernel, mapping);
  },
  { protects: { what: 'gup_fast_folio_allowed()', without: holds } },
);

/** gup_must_unshare(): a read-only pin of an anonymous page that is not this process's alone would go stale. */
export const gup_must_unshare = fn(
  function* gup_must_unshare(mm: Mm, page: Page, flags: number): Steps<boolean> {
    if ((flags & FOLL_PIN) === 0) return false;
    const isAnon = ((yield* folio_mapping(mm, page)) & PAGE_MAPPING_ANON) !== 0;
    if (!isAnon) return (flags & FOLL_LONGTERM) !== 0;
    yield* smp_rmb(); // the entries before the flag: pairs with folio_try_share_anon_rmap_pte()
    return (yield* READ_ONCE(mm.kernel.folio(page).PG_anon_exclusive)) === 0;
  },
  { protects: { what: 'gup_must_unshare()', without: no } },
);

/** The questions that are asked of a folio at the end, whatever the level of the entry that maps it. */
export const gup_folio_permitted = fn(
  function* gup_folio_permitted(mm: Mm, page: Page, entry: Entry, flags: number): Steps<boolean> {
    if (!(yield* gup_fast_folio_allowed(mm, page, flags))) return false;
    return entry.writable || !(yield* gup_must_unshare(mm, page, flags));
  },
  { hidden: true },
);
