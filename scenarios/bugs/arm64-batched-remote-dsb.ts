// A barrier completes what its own CPU has issued.  linux arch/arm64, 2025.
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  dsb_ish,
  flush_tlb_page,
  folio_put,
  mm_find_pmd,
  new_mm,
  new_page,
  pte_none,
  pte_off,
  pte_offset_map_lock,
  pte_page,
  pte_unmap_unlock,
  ptep_get,
  ptep_get_and_clear,
  smp_mb,
  tlbi,
  translations_gone,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  /** mm->tlb_flush_batched. */
  readonly batched: Word;
  /** What must be gone when it returns. */
  readonly before: { readonly source: number; readonly bits: bigint };
}

/** Reclaim: issues the invalidation of each page at once, and waits for all of them at the end. */
const shrink_folio_list = fn(function* shrink_folio_list({ mm, batched }: State): Steps<void> {
  const pmdp = yield* mm_find_pmd(mm, ADDR);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, ADDR));
  if (!locked) return;
  const pte = yield* ptep_get_and_clear(locked.ptep);
  if (!pte_none(pte)) {
    yield* tlbi(mm.pgd, ADDR, ADDR + PAGE_SIZE, false);
    yield* WRITE_ONCE(batched, 1);
  }
  yield* pte_unmap_unlock(locked.ptl);
  if (pte_none(pte)) return;
  yield* dsb_ish(mm.pgd, ADDR, ADDR + PAGE_SIZE, false);
  yield* folio_put(pte_page(pte));
});

/** The fix: invalidate once more, from here. */
const arch_flush_tlb_batched_pending = fn(function* arch_flush_tlb_batched_pending(
  mm: Mm,
): Steps<void> {
  yield* flush_tlb_page(mm, ADDR);
});

const flush_tlb_batched_pending = fn(function* flush_tlb_batched_pending({
  mm,
  batched,
}: State): Steps<boolean> {
  if (!(yield* READ_ONCE(batched))) return false;
  yield* arch_flush_tlb_batched_pending(mm);
  yield* WRITE_ONCE(batched, 0);
  return true;
});

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

export default scenario<State>('arm64-batched-remote-dsb', {
  title: 'arm64: a DSB waits for the TLBIs of its own CPU, and for no other',
  citation:
    'linux commit 4b634918384c (the id is from memory), "arm64/mm: Close theoretical race where stale TLB entry remains valid", 2025',
  story:
    'Reclaim on arm64 issues a TLBI for every page and puts off the barrier that waits for them. Another thread that ' +
    'meets such an entry need not invalidate again, it was thought: a barrier is enough, the TLBI is under way. But a ' +
    'DSB waits for the TLBIs that its own CPU has issued. The thread returned while the stale translation was still in ' +
    'use. The cure issues the invalidation anew.',

  machine: arm64({ cpus: 2 }),

  setup(m) {
    const X = new_page(m, 'X', 1); // the page cache keeps it
    const mm = new_mm(m, 'mm', { [ADDR]: X });
    const ptep = pte_off(m, mm, ADDR);
    const { bits } = m.memory.peekWide(m.memory.resolve(ptep));
    return {
      mm,
      batched: m.memory.variable('mm->tlb_flush_batched'),
      before: { source: ptep.frame * PAGE_SIZE + ptep.index * 8, bits },
    };
  },

  run: {
    CPU0: (state) => shrink_folio_list(state),
    CPU1: (state) => zap_page(state),
  },

  sometimes: {
    'reclaim has issued and not waited': returned(flush_tlb_batched_pending, true),
    'nothing was put off': returned(flush_tlb_batched_pending, false),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:arm64-batched-remote-dsb'],
      patches: [
        patch(arch_flush_tlb_batched_pending, function* () {
          yield* smp_mb(); // dsb(ish): nothing that this CPU has issued
        }),
      ],
    }),
    fixed: safe(),
  },
});
