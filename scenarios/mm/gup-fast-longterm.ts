// Pins for long: which file a page belongs to is asked late, and only once.
// linux v6.12 mm/gup.c (gup_fast_folio_allowed), mm/truncate.c; specification section 1.1 (e), M1.12.
import { fails, only, patch, returned, safe, scenario, type Machine, type Word } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  FOLL_LONGTERM,
  FOLL_WRITE,
  PAGE_MAPPING_ANON,
  PAGE_SIZE,
  WRITE_ONCE,
  fault_in_file_page,
  folio_mapping,
  gup_entries_unchanged,
  gup_fast,
  gup_fast_folio_allowed,
  gup_fast_pte_range,
  gup_grab_folio,
  gup_put_folio,
  munmap,
  new_anon_page,
  new_file,
  new_page_of_file,
  new_mm,
  offset_lockless,
  pin_user_pages_fast,
  pte_access_permitted,
  pte_page,
  ptep_get_lockless,
  shmem_mapping,
  truncate_inode_folio,
  type AddressSpace,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x2000; // keeps the page table
const FOR_LONG_WRITING = FOLL_LONGTERM | FOLL_WRITE;

interface State {
  readonly mm: Mm;
  readonly file: AddressSpace;
  readonly X: Page;
  readonly pinned: Word;
}

/** X is in a file of shmem, or anonymous; then F, on a disk, has no page yet. */
function mapped(kind: 'shmem' | 'disk' | 'anonymous') {
  return (m: Machine): State => {
    const file = new_file(m, 'F', { shmem: kind === 'shmem' });
    const isAnon = kind === 'anonymous';
    const X = isAnon ? new_anon_page(m, 'X') : new_page_of_file(m, 'X', file);
    const pages = { [ADDR]: X, [NEIGHBOUR]: new_anon_page(m, 'Y') };
    const mm = new_mm(m, 'mm', pages, isAnon ? {} : { rwsem: file.i_mmap_rwsem });
    return { mm, file, X, pinned: m.memory.variable('X is pinned for long') };
  };
}

/** Anonymous memory is unmapped, and a file that is on a disk is mapped in its place. */
const REMAPPED = {
  *CPU0({ mm, pinned }: State) {
    const page = yield* pin_user_pages_fast(mm, ADDR, FOR_LONG_WRITING);
    if (page) yield* WRITE_ONCE(pinned, 1);
    return page;
  },
  *CPU1({ mm, file }: State) {
    yield* munmap(mm, ADDR, PAGE_SIZE);
    yield* fault_in_file_page(mm, file, ADDR);
  },
};

/** Reads folio->mapping anew for each question. */
const READ_TWICE = patch(gup_fast_folio_allowed, function* (mm, page) {
  if ((yield* folio_mapping(mm, page)) === 0) return false;
  const mapping = yield* folio_mapping(mm, page);
  if ((mapping & PAGE_MAPPING_ANON) !== 0) return true;
  return yield* shmem_mapping(mm.kernel, mapping);
});

/** Asks about the folio that the entry leads to before it holds it. */
const ASKED_FIRST = patch(gup_fast_pte_range, function* (mm, pmd, pmdp, addr, flags) {
  const ptep = offset_lockless(mm, pmd, 0, addr);
  const pte = yield* ptep_get_lockless(ptep);
  if (!pte_access_permitted(pte, true)) return null;
  const page = pte_page(pte);
  if (!(yield* gup_fast_folio_allowed(mm, page, flags))) return null;
  if (!(yield* gup_grab_folio(mm, page, addr, flags))) return null;
  if (yield* gup_entries_unchanged(pmd, pmdp, pte, ptep)) return page;
  yield* gup_put_folio(mm, page, flags);
  return null;
});

export default scenario<State>('gup-fast-longterm', {
  machine: arm64({ cpus: 2 }),
  setup: mapped('shmem'),

  run: {
    CPU0: ({ mm }) => pin_user_pages_fast(mm, ADDR, FOR_LONG_WRITING),
    CPU1: ({ mm, file, X }) => truncate_inode_folio(mm, file, X),
  },

  always: {
    'no page of a disk is pinned for long': (v) =>
      v.read(v.s.pinned) === 0 || v.read(v.s.mm.kernel.folio(v.s.X).mapping) !== v.s.file.mapping,
  },

  sometimes: {
    'the page is pinned': only(
      ['linux', 'ipi', 'remapped'],
      returned(gup_fast, (page) => page !== null),
    ),
    'the lookup falls back': returned(gup_fast, null),
    'the folio is refused': only(
      ['linux', 'on a disk', 'remapped'],
      returned(gup_fast_folio_allowed, false),
    ),
  },

  variants: {
    linux: safe(),
    ipi: safe({ machine: x86_64({ cpus: 2 }) }),
    'on a disk': safe({ setup: mapped('disk') }),
    'mapping read twice': fails('null-dereference', { shows: ['M1.12'], patches: [READ_TWICE] }),
    remapped: safe({ setup: mapped('anonymous'), run: REMAPPED }),
    'remapped, asked first': fails('property', {
      shows: ['M1.12'],
      setup: mapped('anonymous'),
      run: REMAPPED,
      patches: [ASKED_FIRST],
    }),
  },
});
