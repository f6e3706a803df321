// A request for a flush is erased by whoever has just flushed.  linux arch/s390, 2017.
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { s390 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  flush_tlb_page,
  folio_put,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  spin_lock,
  spin_unlock,
  translations_gone,
  type Mm,
  type Page,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly ptep: Ptep;
  readonly lock: Word;
  /** mm->context.flush_mm: an entry was made invalid and not flushed. */
  readonly flush_mm: Word;
  readonly before: { readonly source: number; readonly bits: bigint };
}

const __tlb_flush_mm = fn(function* __tlb_flush_mm(mm: Mm): Steps<void> {
  yield* flush_tlb_page(mm, ADDR);
});

/** The flag goes down before the flush, and under the lock: a request that comes later stands. */
const __tlb_flush_mm_lazy = fn(function* __tlb_flush_mm_lazy(state: State): Steps<boolean> {
  yield* spin_lock(state.lock);
  const asked = (yield* READ_ONCE(state.flush_mm)) === 1;
  if (asked) {
    yield* WRITE_ONCE(state.flush_mm, 0);
    yield* __tlb_flush_mm(state.mm);
  }
  yield* spin_unlock(state.lock);
  return asked;
});

/** Nobody else runs the address space, it seems: mark, and flush before user code runs again. */
const ptep_flush_lazy = fn(function* ptep_flush_lazy({ ptep, flush_mm }: State): Steps<Page> {
  const pte = yield* ptep_get_and_clear(ptep);
  yield* WRITE_ONCE(flush_mm, 1);
  return pte_page(pte);
});

export default scenario<State>('s390-flush-mm-race', {
  title: 's390: the flag for a flush that was put off is cleared after the flush',
  citation:
    'linux commit 60f07c8ec5fa, "s390/mm: fix race on mm->context.flush_mm", 2017 (from memory, not confirmed)',
  story:
    'An entry may be made invalid without a flush, with a flag that says so; whoever leaves the kernel flushes if the ' +
    'flag is set, and clears it. An entry made invalid between that flush and the clearing lost its flag: its flush ' +
    'never came. The cure clears the flag first, and under a lock, so that nobody takes it for his own flush.',

  machine: s390({ cpus: 2 }),

  setup(m) {
    const X = new_page(m, 'X', 1);
    const mm = new_mm(m, 'mm', { [ADDR]: X });
    const ptep = pte_off(m, mm, ADDR);
    const { bits } = m.memory.peekWide(m.memory.resolve(ptep));
    return {
      mm,
      ptep,
      lock: m.memory.variable('mm->context.lock'),
      flush_mm: m.memory.variable('mm->context.flush_mm', 1),
      before: { source: ptep.frame * PAGE_SIZE + ptep.index * 8, bits },
    };
  },

  run: {
    CPU0: (state) => __tlb_flush_mm_lazy(state),
    *CPU1(state) {
      const page = yield* ptep_flush_lazy(state);
      yield* __tlb_flush_mm_lazy(state);
      yield* translations_gone([state.before]);
      yield* folio_put(page);
    },
  },

  sometimes: {
    'a flush is asked for': returned(__tlb_flush_mm_lazy, true),
    'somebody else has flushed': returned(__tlb_flush_mm_lazy, false),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:s390-flush-mm-race'],
      patches: [
        patch(__tlb_flush_mm_lazy, function* (state) {
          if ((yield* READ_ONCE(state.flush_mm)) !== 1) return false;
          yield* __tlb_flush_mm(state.mm);
          yield* WRITE_ONCE(state.flush_mm, 0);
          return true;
        }),
      ],
    }),
    fixed: safe(),
  },
});
