// "None" does not mean flushed.  linux mm/mprotect.c and mm/rmap.c, 2017.
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  WRITE_ONCE,
  arch_tlbbatch_add_pending,
  arch_tlbbatch_flush,
  flush_tlb_page,
  folio_put,
  kernel_of,
  mm_find_pmd,
  new_batch,
  new_mm,
  new_page,
  pte_none,
  pte_off,
  pte_offset_map_lock,
  pte_page,
  pte_unmap_unlock,
  ptep_get,
  ptep_get_and_clear,
  translations_gone,
  type Kernel,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
  /** mm->tlb_flush_batched. */
  readonly batched: Word;
  /** What must be gone when it returns. */
  readonly before: { readonly source: number; readonly bits: bigint };
}

/** Reclaim: clears the entry under the lock, and flushes once for many pages, later. */
const shrink_folio_list = fn(function* shrink_folio_list(state: State): Steps<void> {
  const { kernel, mm, batched } = state;
  const batch = new_batch(kernel);
  const pmdp = yield* mm_find_pmd(mm, ADDR);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, ADDR));
  if (!locked) return;
  const pte = yield* ptep_get_and_clear(locked.ptep);
  if (!pte_none(pte)) {
    yield* arch_tlbbatch_add_pending(batch, mm);
    yield* WRITE_ONCE(batched, 1);
  }
  yield* pte_unmap_unlock(locked.ptl);
  if (pte_none(pte)) return;
  yield* arch_tlbbatch_flush(batch);
  yield* folio_put(pte_page(pte));
});

/** The fix: others may have cleared entries and not flushed them yet. */
const flush_tlb_batched_pending = fn(function* flush_tlb_batched_pending({
  mm,
  batched,
}: State): Steps<boolean> {
  if (!(yield* READ_ONCE(batched))) return false;
  yield* flush_tlb_page(mm, ADDR);
  yield* WRITE_ONCE(batched, 0);
  return true;
});

/** Takes the page out of the address space: afterwards no CPU reaches it. */
const zap_page = fn(function* zap_page(state: State): Steps<void> {
  const { mm, before } = state;
  const pmdp = yield* mm_find_pmd(mm, ADDR);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, ADDR));
  if (!locked) return;
  yield* flush_tlb_batched_pending(state);
  const pte = yield* ptep_get(locked.ptep);
  if (!pte_none(pte)) {
    yield* ptep_get_and_clear(locked.ptep);
    yield* flush_tlb_page(mm, ADDR);
  }
  yield* pte_unmap_unlock(locked.ptl);
  yield* translations_gone([before]);
  if (!pte_none(pte)) yield* folio_put(pte_page(pte));
});

export default scenario<State>('reclaim-batch-vs-mprotect', {
  title: 'mprotect, madvise, munmap: an empty entry whose flush reclaim has put off',
  citation:
    'linux commit 3ea277194daa, "mm, mprotect: flush TLB if potentially racing with a parallel reclaim leaving stale TLB entries", 2017',
  story:
    'Reclaim clears the entries of many pages and flushes once for all of them. In between, the page-table lock is ' +
    'free. mprotect() found an entry empty, concluded that there was nothing to flush, and returned; threads went on ' +
    'writing through the TLB to what had just been protected. The cure remembers, per address space, that a flush was ' +
    'put off, and whoever takes the lock makes up for it first.',

  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const X = new_page(m, 'X', 1); // the page cache keeps it
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: ['CPU1'] });
    const ptep = pte_off(m, mm, ADDR);
    const { bits } = m.memory.peekWide(m.memory.resolve(ptep));
    return {
      kernel: kernel_of(m),
      mm,
      batched: m.memory.variable('mm->tlb_flush_batched'),
      before: { source: ptep.frame * 4096 + ptep.index * 8, bits },
    };
  },

  run: {
    CPU0: (state) => shrink_folio_list(state),
    CPU1: (state) => zap_page(state),
  },

  sometimes: {
    'the other side makes up for a flush': returned(flush_tlb_batched_pending, true),
    'nothing was put off': returned(flush_tlb_batched_pending, false),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:reclaim-batch-vs-mprotect'],
      patches: [
        patch(flush_tlb_batched_pending, function* () {
          return false;
        }),
      ],
    }),
    fixed: safe(),
  },
});
