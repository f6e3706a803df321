import { fn } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { spin_lock, spin_unlock } from '../../machine/ops/locks.ts';
import {
  __filemap_remove_folio,
  folio_trylock,
  folio_unlock,
  type AddressSpace,
} from './filemap.ts';
import { PAGE_SIZE } from './layout.ts';
import { zap_pte_range } from './memory.ts';
import { tlb_finish_mmu, tlb_gather_mmu } from './mmu_gather.ts';
import { invalidation_begins, invalidation_ends } from './mmu_notifier-hooks.ts';
import { folio_put } from './page-ref.ts';
import { folio_mapcount, mm_find_pmd, rmap_walk, type RmapPlace } from './rmap.ts';
import type { Mm } from './types.ts';

/**
 * Truncation: a page leaves its file, whoever has it mapped or referenced.
 *
 * Guarantee: nobody has the page mapped when it leaves the file. References are not looked at: who has one
 * keeps a page whose `mapping` is NULL. Mechanism: the reverse mapping leads to the entries; they are zapped as
 * munmap() would; then page cache and `mapping` change.
 *
 * Follows linux v6.12 mm/truncate.c (truncate_inode_folio, truncate_cleanup_folio) and mm/memory.c (unmap_mapping_folio).
 */

/** unmap_mapping_range_vma(): as zap_page_range_single() would. */
const zap_place = fn(
  function* zap_place({ mm, address }: RmapPlace): Steps<boolean> {
    const tlb = yield* tlb_gather_mmu(mm);
    const range = yield* invalidation_begins(mm, address, address + PAGE_SIZE);
    const pmdp = yield* mm_find_pmd(mm, address);
    if (pmdp) yield* zap_pte_range(tlb, pmdp, address, address + PAGE_SIZE);
    yield* invalidation_ends(range);
    yield* tlb_finish_mmu(tlb);
    return true;
  },
  { hidden: true },
);

/** Unmaps the page everywhere. */
export const unmap_mapping_folio = fn(function* unmap_mapping_folio(
  mm: Mm,
  page: Page,
): Steps<void> {
  yield* rmap_walk(mm, page, zap_place);
});

/** Takes the page out of its file. */
export const truncate_inode_folio = fn(function* truncate_inode_folio(
  mm: Mm,
  file: AddressSpace,
  page: Page,
): Steps<void> {
  if (!(yield* folio_trylock(mm.kernel, page))) return;
  if ((yield* folio_mapcount(mm, page)) > 0) yield* unmap_mapping_folio(mm, page);
  yield* spin_lock(file.xa_lock);
  yield* __filemap_remove_folio(mm.kernel, file, page);
  yield* spin_unlock(file.xa_lock);
  yield* folio_unlock(mm.kernel, page);
  yield* folio_put(page);
});
