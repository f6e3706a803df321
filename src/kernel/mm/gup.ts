import { fn } from '../../machine/fn.ts';
import { holds, no } from '../../machine/protection.ts';
import type { Entry, EntryPointer, Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { READ_ONCE, xchg } from '../../machine/ops/memory.ts';
import { settle_claim } from '../../machine/ops/pages.ts';
import { local_irq_restore, local_irq_save } from '../../machine/ops/processor.ts';
import { raw_read_seqcount, read_seqcount_retry } from '../kernel/seqlock.ts';
import { rcu_read_lock, rcu_read_unlock } from '../kernel/rcu.ts';
import {
  FOLL_PIN,
  FOLL_WRITE,
  gup_folio_permitted,
  gup_grab_folio,
  gup_put_folio,
} from './gup-folio.ts';
import {
  offset_lockless,
  p4dp_get,
  pgd_offset,
  pgdp_get,
  pmd_leaf,
  pmdp_get,
  pmdp_get_lockless,
  pte_access_permitted,
  pte_page,
  ptep_get,
  ptep_get_lockless,
  pudp_get,
  same,
} from './pgtable.ts';
import type { Mm, Pmd, Pmdp, Pte, Ptep } from './types.ts';

/**
 * GUP-fast: taking a reference on the page behind a user address without any lock.
 *
 * Guarantee: the page returned was mapped at the address at some instant after its reference was taken
 * (identity), and no page table was read after it had gone back to the allocator (lifetime).
 *
 * Mechanism. Lifetime: interrupts are off during the whole walk. Where a TLB shootdown is an interrupt, it
 * cannot complete on this CPU before they are on again, and tables are freed only after it; where tables
 * are freed through RCU, a region with interrupts off is a read-side section. Identity: each entry is
 * loaded once; a reference is taken only on a page that has one; then both the PTE and the PMD entry are
 * read again, and any difference drops the reference.
 *
 * Why it suffices here and not elsewhere: only the address space that this CPU runs is walked, so the
 * shootdown is sent to it; a foreign one could be freed without this CPU being told (M1.9).
 *
 * Assumes: the architecture's table freeing waits for interrupts-off walkers (mm/mmu_gather.ts), and
 * entries are loaded atomically.
 *
 * Pins (mm/gup-folio.ts) need one thing more: fork() shares pages without clearing their entries first, so it
 * makes `write_protect_seq` odd meanwhile, and a pin counts only if that did not change during the walk.
 *
 * Follows linux v6.12 mm/gup.c (gup_fast, gup_fast_pte_range), without devmap and special entries.
 */

/**
 * The re-check: the reference was taken after the entries were read, so only entries that are still there
 * say that it is the right page. Without it the page of another process can be returned (M1.1).
 */
export const gup_entries_unchanged = fn(
  function* gup_entries_unchanged(pmd: Pmd, pmdp: Pmdp, pte: Pte, ptep: Ptep): Steps<boolean> {
    return same(pmd, yield* pmdp_get(pmdp)) && same(pte, yield* ptep_get(ptep));
  },
  { protects: { what: 'gup_entries_unchanged()', without: holds } },
);

/** The PTE level, in the table that `pmd`, a local copy of `*pmdp`, points to. */
export const gup_fast_pte_range = fn(function* gup_fast_pte_range(
  mm: Mm,
  pmd: Pmd,
  pmdp: Pmdp,
  addr: number,
  flags: number,
): Steps<Page | null> {
  const ptep = offset_lockless(mm, pmd, 0, addr); // from the copy: a second load might be another table
  const pte = yield* ptep_get_lockless(ptep);
  if (!pte_access_permitted(pte, (flags & FOLL_WRITE) !== 0)) return null; // PROT_NONE is not present

  const page = pte_page(pte);
  if (!(yield* gup_grab_folio(mm, page, addr, flags))) return null;

  const unchanged = yield* gup_entries_unchanged(pmd, pmdp, pte, ptep);
  if (unchanged && (yield* gup_folio_permitted(mm, page, pte, flags))) return page;
  yield* gup_put_folio(mm, page, flags);
  return null;
});

/** The re-check of an entry that maps a huge page: there is none below, and nothing above can change. */
export const gup_leaf_unchanged = fn(
  function* gup_leaf_unchanged(entry: Entry, place: EntryPointer): Steps<boolean> {
    return same(entry, yield* pmdp_get(place));
  },
  { protects: { what: 'gup_leaf_unchanged()', without: holds } },
);

/** gup_fast_pmd_leaf(), gup_fast_pud_leaf(): `entry`, read at `place`, maps a huge page. */
export const gup_fast_leaf = fn(function* gup_fast_leaf(
  mm: Mm,
  entry: Entry,
  place: EntryPointer,
  addr: number,
  flags: number,
): Steps<Page | null> {
  if (!pte_access_permitted(entry, (flags & FOLL_WRITE) !== 0)) return null;
  const page = pte_page(entry);
  if (!(yield* gup_grab_folio(mm, page, addr, flags))) return null;

  const unchanged = yield* gup_leaf_unchanged(entry, place);
  if (unchanged && (yield* gup_folio_permitted(mm, page, entry, flags))) return page;
  yield* gup_put_folio(mm, page, flags);
  return null;
});

/** The upper levels: each child pointer is computed from the local copy of its parent. */
export const gup_fast_pgd_range = fn(function* gup_fast_pgd_range(
  mm: Mm,
  addr: number,
  flags: number,
): Steps<Page | null> {
  const pgdp = pgd_offset(mm, addr);
  const pgd = yield* pgdp_get(pgdp);
  if (!pgd.table) return null;
  const p4d = yield* p4dp_get(offset_lockless(mm, pgd, 3, addr)); // folded: `pgd` once more, and no load
  if (!p4d.table) return null;
  const pudp = offset_lockless(mm, p4d, 2, addr);
  const pud = yield* pudp_get(pudp);
  if (pmd_leaf(pud)) {
    const place = 'bits' in pudp ? pgdp : pudp; // folded: the entry is one of the pgd
    return yield* gup_fast_leaf(mm, pud, place, addr, flags);
  }
  if (!pud.table) return null;
  const pmdp = offset_lockless(mm, pud, 1, addr);
  const pmd = yield* pmdp_get_lockless(pmdp);
  if (pmd_leaf(pmd)) return yield* gup_fast_leaf(mm, pmd, pmdp, addr, flags);
  if (!pmd.table) return null; // none, or not present: being split, on the move
  return yield* gup_fast_pte_range(mm, pmd, pmdp, addr, flags);
});

/** Is a fork() write-protecting pages at this moment? */
const is_write_protecting = fn(
  function* is_write_protecting(seq: number): Steps<boolean> {
    return seq % 2 === 1;
  },
  { hidden: true, protects: { what: 'the test for an odd sequence count', without: no } },
);

/** gup_fast(): the walk and what it needs around it. Null where the slow path is needed. */
export const gup_fast = fn(
  function* gup_fast(mm: Mm, addr: number, gup_flags: number): Steps<Page | null> {
    const pins = (gup_flags & FOLL_PIN) !== 0;
    const seq = pins ? yield* raw_read_seqcount(mm.write_protect_seq) : 0;
    if (pins && (yield* is_write_protecting(seq))) return null;
    const flags = yield* local_irq_save(); // the walk's only protection: holds off flush IPIs and grace periods
    let page = yield* gup_fast_pgd_range(mm, addr, gup_flags);
    yield* local_irq_restore(flags);
    if (page && pins && (yield* read_seqcount_retry(mm.write_protect_seq, seq))) {
      yield* gup_put_folio(mm, page, gup_flags);
      page = null;
    }
    return yield* settle_claim(page);
  },
  { hidden: true },
);

/** get_user_pages_fast() with FOLL_FAST_ONLY for one page: null where the slow path would be needed. */
export const get_user_pages_fast = fn(function* get_user_pages_fast(
  mm: Mm,
  addr: number,
  gup_flags?: number,
): Steps<Page | null> {
  return yield* gup_fast(mm, addr, gup_flags ?? 0);
});

/** pin_user_pages_fast() with FOLL_FAST_ONLY for one page. fork() looks at the flag before it looks for pins. */
export const pin_user_pages_fast = fn(function* pin_user_pages_fast(
  mm: Mm,
  addr: number,
  gup_flags?: number,
): Steps<Page | null> {
  yield* mm_set_has_pinned_flag(mm);
  return yield* gup_fast(mm, addr, (gup_flags ?? 0) | FOLL_PIN);
});

export const mm_set_has_pinned_flag = fn(
  function* mm_set_has_pinned_flag(mm: Mm): Steps<void> {
    if ((yield* READ_ONCE(mm.has_pinned)) === 0) yield* xchg(mm.has_pinned, 1);
  },
  { protects: { what: 'MMF_HAS_PINNED' } },
);

/**
 * The walk of a reader that relies on rcu_read_lock() alone, as /proc/pid/smaps and page aging do through
 * pte_offset_map(): it reads the entry and takes no reference. It waits for nobody's interrupt, so only a
 * grace period keeps its table (the P-rcu row of the specification's table of protections).
 */
export const walk_page_range_rcu = fn(function* walk_page_range_rcu(
  mm: Mm,
  addr: number,
): Steps<boolean> {
  yield* rcu_read_lock();
  const present = yield* walk_pte_rcu(mm, addr);
  yield* rcu_read_unlock();
  return present;
});

const walk_pte_rcu = fn(function* walk_pte_rcu(mm: Mm, addr: number): Steps<boolean> {
  let entry: Entry = yield* pgdp_get(pgd_offset(mm, addr));
  if (!entry.table) return false;
  entry = yield* p4dp_get(offset_lockless(mm, entry, 3, addr));
  if (!entry.table) return false;
  entry = yield* pudp_get(offset_lockless(mm, entry, 2, addr));
  if (!entry.table) return false;
  const pmdp: EntryPointer = offset_lockless(mm, entry, 1, addr);
  entry = yield* pmdp_get_lockless(pmdp);
  if (!entry.table) return false;
  const pte = yield* ptep_get_lockless(offset_lockless(mm, entry, 0, addr));
  return pte.present;
});
