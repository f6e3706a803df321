// A page moved to another address, flushed when the move is long over.  linux mm/mremap.c, 2018.
import { fails, fn, nop, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  down_read,
  down_write,
  flush_tlb_page,
  folio_put,
  mm_find_pmd,
  new_mm,
  new_page,
  pte_none,
  pte_offset_map_lock,
  pte_page,
  pte_unmap_unlock,
  ptep_get,
  ptep_get_and_clear,
  set_pte_at,
  up_read,
  up_write,
  user_load,
  type Mm,
} from 'gracewalk/linux';

const OLD = 0x1000;
const NEW = 0x201000;

interface State {
  readonly mm: Mm;
  readonly i_mmap_rwsem: Word;
}

/** The fix: while the lock of the new table is held, nobody can take the page away at its new address. */
const flush_old_range = fn(function* flush_old_range(mm: Mm): Steps<void> {
  yield* flush_tlb_page(mm, OLD);
});

/** What was done instead: one flush at the end, for everything that was moved. */
const flush_at_the_end = fn(function* flush_at_the_end(_mm: Mm): Steps<void> {});

const move_ptes = fn(function* move_ptes(mm: Mm): Steps<void> {
  const old_pmd = yield* mm_find_pmd(mm, OLD);
  const new_pmd = yield* mm_find_pmd(mm, NEW);
  if (!old_pmd || !new_pmd) return;
  const old = yield* pte_offset_map_lock(mm, old_pmd, OLD);
  if (!old) return;
  const dest = yield* pte_offset_map_lock(mm, new_pmd, NEW);
  if (dest) {
    const pte = yield* ptep_get_and_clear(old.ptep);
    yield* set_pte_at(dest.ptep, pte);
    yield* flush_old_range(mm);
    yield* pte_unmap_unlock(dest.ptl);
  }
  yield* pte_unmap_unlock(old.ptl);
});

const mremap = fn(function* mremap(mm: Mm): Steps<void> {
  yield* down_write(mm.mmap_lock);
  yield* move_ptes(mm);
  yield* flush_at_the_end(mm);
  yield* up_write(mm.mmap_lock);
});

/** ftruncate() of the file: finds the mapping at its new place by the reverse mapping, without mmap_lock. */
const unmap_mapping_range = fn(function* unmap_mapping_range({
  mm,
  i_mmap_rwsem,
}: State): Steps<boolean> {
  yield* down_read(i_mmap_rwsem);
  const found = yield* zap_new_place(mm);
  yield* up_read(i_mmap_rwsem);
  return found;
});

const zap_new_place = fn(function* zap_pte_range(mm: Mm): Steps<boolean> {
  const pmdp = yield* mm_find_pmd(mm, NEW);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, NEW));
  if (!locked) return false;
  const pte = yield* ptep_get(locked.ptep);
  if (pte_none(pte)) {
    yield* pte_unmap_unlock(locked.ptl);
    return false;
  }
  yield* ptep_get_and_clear(locked.ptep);
  yield* pte_unmap_unlock(locked.ptl);
  yield* flush_tlb_page(mm, NEW);
  yield* folio_put(pte_page(pte));
  return true;
});

export default scenario<State>('mremap-late-flush', {
  title: 'mremap: the old address is flushed after the page is free to go',
  citation:
    'linux commit eb66ae030829, CVE-2018-18281, "mremap: properly flush TLB before releasing the page", 2018',
  story:
    'mremap() took an entry out of one page table and put it into another, and flushed the old address when all was ' +
    'moved. But with the lock of the new table dropped, a truncation could find the page at its new address, flush ' +
    'that one, and free the page, while another thread still had the old translation: it wrote to memory that by ' +
    "then was somebody else's. The cure flushes the old range before the lock of the new table is dropped.",

  machine: x86_64({ cpus: 3 }),

  setup(m) {
    const pages = { [OLD]: new_page(m, 'X'), 0x200000: new_page(m, 'Y') };
    const i_mmap_rwsem = m.memory.variable('mapping->i_mmap_rwsem');
    return { mm: new_mm(m, 'mm', pages, { on: ['CPU0', 'CPU1'] }), i_mmap_rwsem };
  },

  run: {
    CPU0: ({ mm }) => mremap(mm),
    CPU1: ({ mm }) => user_load(mm, OLD),
    CPU2: (state) => unmap_mapping_range(state),
  },

  sometimes: {
    'the truncation finds the page': returned(unmap_mapping_range, true),
    'the other thread finds the page': returned(user_load, (value) => value !== null),
    'the other thread faults': returned(user_load, null),
  },

  variants: {
    buggy: fails(['stale-translation', 'use-after-free'], {
      shows: ['bug:mremap-late-flush'],
      patches: [
        patch(flush_old_range, nop),
        patch(flush_at_the_end, function* (mm) {
          yield* flush_tlb_page(mm, OLD);
        }),
      ],
    }),
    fixed: safe(),
  },
});
