import { fn } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { spin_lock, spin_unlock } from '../../machine/ops/locks.ts';
import { allocate_frame } from '../../machine/ops/pages.ts';
import {
  filemap_replace_folio,
  folio_trylock,
  folio_unlock,
  type AddressSpace,
} from './filemap.ts';
import { vmf_pte_same } from './fault.ts';
import {
  folio_get,
  folio_put,
  folio_ref_freeze,
  folio_ref_unfreeze,
  memcpy_from_page,
  memcpy_to_page,
} from './page-ref.ts';
import { offset_lockless, pmdp_get_lockless, set_pte_at } from './pgtable.ts';
import { pte_lockptr } from './pgtable-generic.ts';
import { make_migration_entry, mk_pte } from './pgtable-set.ts';
import { folio_add_rmap_pte, mm_find_pmd, type RmapPlace } from './rmap.ts';
import { try_to_migrate } from './try_to_unmap.ts';
import type { Mm } from './types.ts';

/**
 * Moving a file's page to another frame.
 *
 * Guarantee: afterwards file and address spaces have the new page with the old one's contents, and nobody has
 * the old one. Mechanism: each entry is replaced by a migration entry (not present, but not none: a fault
 * waits), then the references are frozen if they are exactly those of the page cache and of the mover. If
 * somebody else has one, everything is put back.
 * Why it suffices: as for reclaim, see mm/try_to_unmap.ts and mm/vmscan.ts.
 *
 * Follows linux v6.12 mm/migrate.c (migrate_folio_unmap, __folio_migrate_mapping, remove_migration_pte).
 */

const EXPECTED = 2;

/** __folio_migrate_mapping(): the new page takes the old one's place in the file. */
export const folio_migrate_mapping = fn(function* folio_migrate_mapping(
  mm: Mm,
  file: AddressSpace,
  page: Page,
  dst: Page,
): Steps<boolean> {
  yield* spin_lock(file.xa_lock);
  const frozen = yield* folio_ref_freeze(mm.kernel, page, EXPECTED);
  if (frozen) {
    yield* filemap_replace_folio(mm.kernel, file, page, dst);
    yield* folio_ref_unfreeze(page, EXPECTED - 1); // the cache's reference is on the new page now
  }
  yield* spin_unlock(file.xa_lock);
  return frozen;
});

/** Puts `page` where the migration entry for `old` is. */
export const remove_migration_pte = fn(function* remove_migration_pte(
  { mm, address }: RmapPlace,
  old: Page,
  page: Page,
): Steps<void> {
  const pmdp = yield* mm_find_pmd(mm, address);
  if (!pmdp) return;
  const pmd = yield* pmdp_get_lockless(pmdp);
  const ptl = pte_lockptr(mm, pmd);
  const ptep = offset_lockless(mm, pmd, 0, address);
  yield* spin_lock(ptl);
  if (yield* vmf_pte_same(ptep, make_migration_entry(mm, old))) {
    yield* folio_get(page);
    yield* folio_add_rmap_pte(mm, page);
    yield* set_pte_at(ptep, mk_pte(mm, page, { writable: true }));
  }
  yield* spin_unlock(ptl);
});

/** Moves the page; true if it was moved. */
export const migrate_folio = fn(function* migrate_folio(
  mm: Mm,
  file: AddressSpace,
  page: Page,
): Steps<boolean> {
  yield* folio_get(page); // isolated
  if (!(yield* folio_trylock(mm.kernel, page))) {
    yield* folio_put(page);
    return false;
  }
  const dst = yield* allocate_frame({ what: 'new', level: -1, recycle: false });
  yield* try_to_migrate(mm, page);
  const moved = yield* folio_migrate_mapping(mm, file, page, dst);
  if (moved) yield* memcpy_to_page(dst, 0, yield* memcpy_from_page(page, 0));
  for (const place of mm.kernel.rmap(page)) {
    yield* remove_migration_pte(place, page, moved ? dst : page);
  }
  yield* folio_unlock(mm.kernel, page);
  if (!moved) yield* folio_put(dst);
  yield* folio_put(page);
  return moved;
});
