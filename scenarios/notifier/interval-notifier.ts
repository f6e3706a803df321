// A driver mirrors a page by collisions and retries while it is being taken away.
// linux v6.12 mm/mmu_notifier.c (mmu_interval_read_begin, mn_itree_inv_end), mm/hmm.c.
import { fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  inserted,
  madvise_dontneed,
  mirror_commit,
  mirror_fault,
  mirror_invalidate,
  mirror_zap,
  mmu_interval_check_retry,
  mmu_interval_read_retry,
  mmu_interval_set_seq,
  mmu_notifier_invalidate_range_end,
  mmu_notifier_invalidate_range_start,
  mmu_notifier_range_init,
  mutex_lock,
  mutex_unlock,
  new_mirror,
  new_mm,
  new_page,
  folio_put,
  pte_off,
  ptep_get_and_clear,
  set_spte,
  type Mirror,
  type Mm,
  type Page,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly ptep: Ptep;
  readonly gpu: Mirror;
}

const FAULT = ({ gpu }: State) => mirror_fault(gpu, ADDR);
const ZAP = ({ mm }: State) => madvise_dontneed(mm, ADDR, PAGE_SIZE);

/** Two invalidations that meet the subscription: the epoch lasts until both are over. */
const NESTED = {
  machine: x86_64({ cpus: 3 }),
  run: {
    CPU0: FAULT,
    *CPU1({ mm, X, ptep }: State) {
      const range = mmu_notifier_range_init(mm, ADDR, ADDR + PAGE_SIZE);
      yield* mmu_notifier_invalidate_range_start(range);
      yield* ptep_get_and_clear(ptep); // and no processor has cached it
      yield* mmu_notifier_invalidate_range_end(range);
      yield* folio_put(X);
    },
    *CPU2({ mm }: State) {
      const range = mmu_notifier_range_init(mm, ADDR + PAGE_SIZE, ADDR + 2 * PAGE_SIZE);
      yield* mmu_notifier_invalidate_range_start(range);
      yield* mmu_notifier_invalidate_range_end(range);
    },
  },
};

/** I3: the number is written when the lock has been dropped. */
const SET_LATE = patch(mirror_invalidate, function* (mirror, range, cur_seq) {
  yield* mutex_lock(mirror.user_lock);
  yield* mirror_zap(mirror, range);
  yield* mutex_unlock(mirror.user_lock);
  yield* mmu_interval_set_seq(mirror.sub, cur_seq);
  return true;
});

/** I4: the last look is the one without the lock. */
const CHECKED_WITHOUT_LOCK = patch(mirror_commit, function* (mirror, addr, page, seq) {
  if (!page || (yield* mmu_interval_check_retry(mirror.sub, seq))) return false;
  yield* mutex_lock(mirror.user_lock);
  yield* set_spte(mirror, addr, page);
  yield* mutex_unlock(mirror.user_lock);
  return true;
});

export default scenario<State>('interval-notifier', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const X = new_page(m, 'X');
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
    const gpu = new_mirror(m, mm, 'gpu', { start: ADDR, length: 2 * PAGE_SIZE });
    inserted(m, gpu.sub);
    return { mm, X, gpu, ptep: pte_off(m, mm, ADDR) };
  },

  run: { CPU0: FAULT, CPU1: ZAP },

  sometimes: {
    'the device gets the page': returned(mirror_fault, true),
    'the page was gone': returned(mirror_fault, false),
    'the reader has collided': returned(mmu_interval_read_retry, true),
  },

  variants: {
    'one range': safe({ shows: ['I1', 'I3', 'I4'] }),
    'one range (tso)': safe({ model: 'tso' }),
    'checked without the lock (tso)': fails('stale-translation', {
      model: 'tso',
      patches: [CHECKED_WITHOUT_LOCK],
    }),
    'two ranges': safe({ shows: ['I9'], ...NESTED }),
    // I1: the epoch is still open, and its number is taken for one that is over.
    'no wait': fails('stale-translation', {
      shows: ['I1'],
      without: ['the wait of mmu_interval_read_begin() in mmu_interval_read_begin()'],
    }),
    'set after the lock': fails('stale-translation', { shows: ['I3'], patches: [SET_LATE] }),
    'checked without the lock': fails('stale-translation', {
      shows: ['I4'],
      patches: [CHECKED_WITHOUT_LOCK],
    }),
    'not checked': fails('stale-translation', {
      patches: [
        patch(mmu_interval_read_retry, function* () {
          return false;
        }),
      ],
    }),
    'nobody is told': fails('stale-translation', {
      patches: [
        patch(mirror_invalidate, function* () {
          return true;
        }),
      ],
    }),
    // I9: the end of one invalidation is taken for the end of all.
    'two ranges, ended by the first': fails('stale-translation', {
      shows: ['I9'],
      ...NESTED,
      without: ['the count of active invalidations in mn_itree_inv_end()'],
    }),
  },
});
