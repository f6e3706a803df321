import { fn } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { down_read, up_read } from '../../machine/ops/locks.ts';
import { allocate_frame } from '../../machine/ops/pages.ts';
import { filemap_add_folio, type AddressSpace } from './filemap.ts';
import { folio_get } from './page-ref.ts';
import { pte_offset_map_lock, pte_unmap_unlock } from './pgtable-generic.ts';
import { mk_pte } from './pgtable-set.ts';
import { set_pte_at } from './pgtable.ts';
import { folio_add_rmap_pte, mm_find_pmd } from './rmap.ts';
import type { Mm } from './types.ts';

/**
 * Faults, as far as somebody else has to see their result.
 *
 * Guarantee: an entry is installed under its table's lock, of a page that has the reference and the count of
 * that mapping already. Follows linux v6.12 mm/memory.c (do_read_fault, set_pte_range).
 */

/** Maps the page of a file that has none in its page cache yet: it is read from the disk. The table exists. */
export const fault_in_file_page = fn(function* do_read_fault(
  mm: Mm,
  file: AddressSpace,
  addr: number,
): Steps<void> {
  yield* down_read(mm.mmap_lock);
  const page = yield* allocate_frame({ what: 'F', level: -1, recycle: true });
  yield* filemap_add_folio(mm.kernel, file, page);
  const pmdp = yield* mm_find_pmd(mm, addr);
  const locked = pmdp ? yield* pte_offset_map_lock(mm, pmdp, addr) : null;
  if (locked) {
    yield* folio_get(page);
    yield* folio_add_rmap_pte(mm, page);
    yield* set_pte_at(locked.ptep, mk_pte(mm, page, { writable: true }));
    yield* pte_unmap_unlock(locked.ptl);
  }
  yield* up_read(mm.mmap_lock);
});
