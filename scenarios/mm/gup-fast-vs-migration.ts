// GUP-fast vs migration: direct I/O writes to a page that is being moved to another frame.
// linux v6.12 mm/gup.c, mm/rmap.c, mm/migrate.c; specification section 1.2, invariant I3.
import { fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  FOLL_WRITE,
  allocate_frame,
  filemap_replace_folio,
  folio_get,
  folio_put,
  folio_ref_freeze,
  folio_ref_unfreeze,
  get_user_pages_fast,
  gup_entries_unchanged,
  memcpy_from_page,
  memcpy_to_page,
  migrate_folio,
  new_file,
  new_page_of_file,
  new_mm,
  remove_migration_pte,
  spin_lock,
  spin_unlock,
  try_to_migrate,
  type AddressSpace,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly file: AddressSpace;
  readonly X: Page;
}

/** Direct I/O: what is written through the reference belongs to the address. */
const WRITER = {
  *CPU0({ mm }: State) {
    const page = yield* get_user_pages_fast(mm, ADDR, FOLL_WRITE);
    if (!page) return;
    yield* memcpy_to_page(page, 0, 1n);
    yield* folio_put(page);
  },
  CPU1: ({ mm, file, X }: State) => migrate_folio(mm, file, X),
};

const NO_RECHECK = patch(gup_entries_unchanged, function* () {
  return true;
});

/** The page is moved while its entries still lead to it; they are replaced afterwards. */
const MOVED_FIRST = patch(migrate_folio, function* (mm, file, page) {
  yield* folio_get(page);
  const dst = yield* allocate_frame({ what: 'new', level: -1, recycle: false });
  yield* spin_lock(file.xa_lock);
  const moved = yield* folio_ref_freeze(mm.kernel, page, 3);
  if (moved) {
    yield* filemap_replace_folio(mm.kernel, file, page, dst);
    yield* folio_ref_unfreeze(page, 2);
  }
  yield* spin_unlock(file.xa_lock);
  if (moved) {
    yield* memcpy_to_page(dst, 0, yield* memcpy_from_page(page, 0));
    yield* try_to_migrate(mm, page);
    for (const place of mm.kernel.rmap(page)) yield* remove_migration_pte(place, page, dst);
  } else {
    yield* folio_put(dst);
  }
  yield* folio_put(page);
  return moved;
});

export default scenario<State>('gup-fast-vs-migration', {
  machine: arm64({ cpus: 2 }),

  setup(m: Machine) {
    const file = new_file(m, 'F', { shmem: true });
    const X = new_page_of_file(m, 'X', file);
    return { file, X, mm: new_mm(m, 'mm', { [ADDR]: X }, { rwsem: file.i_mmap_rwsem }) };
  },

  run: {
    CPU0: ({ mm }) => get_user_pages_fast(mm, ADDR),
    CPU1: ({ mm, file, X }) => migrate_folio(mm, file, X),
  },

  sometimes: {
    'a page is returned': returned(get_user_pages_fast, (page) => page !== null),
    'the lookup falls back': returned(get_user_pages_fast, null),
    'the page is moved': returned(migrate_folio, true),
    'the page stays where it is': returned(migrate_folio, false),
  },

  variants: {
    linux: safe(),
    ipi: safe({ machine: x86_64({ cpus: 2 }) }),
    'linux, written to': safe({ run: WRITER }),
    'tso, written to': safe({ machine: x86_64({ cpus: 2 }), model: 'tso', run: WRITER }),
    'no re-check': fails('wrong-page', { patches: [NO_RECHECK] }),
    'no re-check, written to': fails(['wrong-page', 'lost-write'], {
      run: WRITER,
      patches: [NO_RECHECK],
    }),
    // The references are frozen while the entries still lead to the page.
    'mapping moved first': fails('lost-write', {
      run: WRITER,
      patches: [MOVED_FIRST],
    }),
  },
});
