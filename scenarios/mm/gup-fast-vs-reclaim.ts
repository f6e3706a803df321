// GUP-fast vs reclaim: direct I/O finds a page, writes to it and drops it, while the page is unmapped and given
// back. linux v6.12 mm/gup.c, mm/rmap.c, mm/vmscan.c; specification section 1.2, invariants I3 and I4.
import { fails, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  FOLL_WRITE,
  READ_ONCE,
  WRITE_ONCE,
  __filemap_remove_folio,
  __remove_mapping,
  contents_discarded,
  folio_mapcount,
  folio_mark_dirty,
  folio_put,
  folio_ref_count,
  folio_ref_freeze,
  folio_remove_rmap_pte,
  folio_test_dirty,
  get_user_pages_fast,
  gup_entries_unchanged,
  lazyfree_may_discard,
  memcpy_to_page,
  new_file,
  new_page_of_file,
  new_lazyfree_page,
  new_mm,
  page_vma_mapped_walk,
  pte_unmap_unlock,
  ptep_get_and_clear,
  shrink_folio_list,
  spin_lock,
  spin_unlock,
  try_to_unmap_one,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
}

/** A clean page of a file. */
function file_page(m: Machine): State {
  const file = new_file(m, 'F', { shmem: false });
  const X = new_page_of_file(m, 'X', file);
  return { X, mm: new_mm(m, 'mm', { [ADDR]: X }, { rwsem: file.i_mmap_rwsem }) };
}

/** A clean page that MADV_FREE has given up. */
function lazyfree_page(m: Machine): State {
  const X = new_lazyfree_page(m, 'X');
  return { X, mm: new_mm(m, 'mm', { [ADDR]: X }) };
}

/** A read(2) with O_DIRECT into the page. */
const DIRECT_IO = {
  *CPU0({ mm }: State) {
    const page = yield* get_user_pages_fast(mm, ADDR, FOLL_WRITE);
    if (!page) return;
    yield* memcpy_to_page(page, 0, 1n);
    yield* folio_mark_dirty(mm, page);
    yield* folio_put(page);
  },
  CPU1: ({ mm, X }: State) => shrink_folio_list(mm, X),
};

/** Not one atomic step. */
const NOT_FROZEN = patch(folio_ref_freeze, function* (kernel, page, expected) {
  if ((yield* folio_ref_count(kernel, page)) !== expected) return false;
  yield* WRITE_ONCE(kernel.folio(page)._refcount, 0);
  return true;
});

/** The dirty flag before the references. */
const DIRTY_FIRST = patch(__remove_mapping, function* (mm, file, page) {
  yield* spin_lock(file.xa_lock);
  const isDirty = yield* folio_test_dirty(mm, page);
  const removed = !isDirty && (yield* folio_ref_freeze(mm.kernel, page, 2));
  if (removed) {
    yield* contents_discarded(page);
    yield* __filemap_remove_folio(mm.kernel, file, page);
  }
  yield* spin_unlock(file.xa_lock);
  return removed;
});

/** MADV_FREE: the references are looked at while the page can still be found. */
const REFERENCES_FIRST = patch(try_to_unmap_one, function* (page, place, deferred) {
  const { mm, address } = place;
  const found = yield* page_vma_mapped_walk(page, place);
  if (!found) return true;
  const gone = yield* lazyfree_may_discard(mm, page);
  if (gone) {
    yield* ptep_get_and_clear(found.ptep);
    deferred.push({ mm, address });
    yield* contents_discarded(page);
    yield* folio_remove_rmap_pte(mm, page);
    yield* folio_put(page);
  }
  yield* pte_unmap_unlock(found.ptl);
  return gone;
});

/** MADV_FREE without the read barrier between references and dirty flag, and with the worse order. */
const LAZYFREE_DIRTY_FIRST = patch(lazyfree_may_discard, function* (mm, page) {
  if ((yield* READ_ONCE(mm.kernel.folio(page).PG_dirty)) === 1) return false;
  const ref_count = yield* folio_ref_count(mm.kernel, page);
  return ref_count === 1 + (yield* folio_mapcount(mm, page));
});

const TSO = { machine: x86_64({ cpus: 2 }), model: 'tso' } as const;

export default scenario<State>('gup-fast-vs-reclaim', {
  machine: arm64({ cpus: 2 }),
  setup: file_page,
  foreign: 1,

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm, X }) => shrink_folio_list(mm, X),
  },

  sometimes: {
    'the page is returned': returned(get_user_pages_fast, (page) => page !== null),
    'the lookup falls back': returned(get_user_pages_fast, null),
    'the page is given back': returned(shrink_folio_list, true),
    'the page is kept': returned(shrink_folio_list, false),
    'the page is kept because it is held': only(
      ['file', 'file, direct I/O'],
      returned(folio_ref_freeze, false),
    ),
    'the page is kept because it is dirty': only(
      ['file, direct I/O', 'file, tso'],
      returned(folio_test_dirty, true),
    ),
    'lazily freed memory is kept': only(['lazyfree'], returned(lazyfree_may_discard, false)),
  },

  variants: {
    file: safe(),
    'file, ipi': safe({ machine: x86_64({ cpus: 2 }) }),
    'file, direct I/O': safe({ run: DIRECT_IO }),
    'file, tso': safe({ ...TSO, run: DIRECT_IO }),
    'file, no re-check': fails('wrong-page', {
      patches: [
        patch(gup_entries_unchanged, function* () {
          return true;
        }),
      ],
    }),
    // The references are looked at, and then taken away: one taken in between is lost.
    'file, compared, not frozen': fails('refcount', { patches: [NOT_FROZEN] }),
    // The flag is set, and the reference dropped, between the look at one and at the other.
    'file, dirty first': fails('lost-write', {
      run: DIRECT_IO,
      patches: [DIRTY_FIRST],
    }),
    lazyfree: safe({ setup: lazyfree_page, run: DIRECT_IO }),
    'lazyfree, tso': safe({ ...TSO, setup: lazyfree_page, run: DIRECT_IO }),
    'lazyfree, references first': fails('lost-write', {
      setup: lazyfree_page,
      run: DIRECT_IO,
      patches: [REFERENCES_FIRST],
    }),
    'lazyfree, dirty first': fails('lost-write', {
      setup: lazyfree_page,
      run: DIRECT_IO,
      patches: [LAZYFREE_DIRTY_FIRST],
    }),
  },
});
