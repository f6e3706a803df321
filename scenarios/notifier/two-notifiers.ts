// A page is taken away from two sides at once, and each tells the secondary MMU.  May the flush come after the
// lock under which the entry was removed?  The mail of 2008 says so of notifiers; of one at a time it is true.
import { entered, fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  flush_secondary_tlb,
  madvise_dontneed,
  new_file,
  new_mm,
  new_mmu_notifier,
  new_page_of_file,
  new_shadow,
  registered,
  shadow_invalidate_range_start,
  shadow_ops,
  shadow_zap_range,
  shrink_folio_list,
  spin_lock,
  spin_unlock,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
}

/** The entry goes under the lock, what TLBs have of it behind it. */
const FLUSH_LATE = patch(shadow_invalidate_range_start, function* (shadow, { start, end }) {
  yield* spin_lock(shadow.mmu_lock);
  yield* WRITE_ONCE(shadow.in_progress, (yield* READ_ONCE(shadow.in_progress)) + 1);
  const zapped = yield* shadow_zap_range(shadow, start, end);
  yield* spin_unlock(shadow.mmu_lock);
  if (zapped) yield* flush_secondary_tlb(shadow);
  return true;
});

export default scenario<State>('two-notifiers', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const file = new_file(m, 'F', { shmem: false });
    const X = new_page_of_file(m, 'X', file);
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [], rwsem: file.i_mmap_rwsem });
    const kvm = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
    registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(kvm)));
    return { mm, X };
  },

  run: {
    CPU0: ({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE),
    CPU1: ({ mm, X }) => shrink_folio_list(mm, X),
  },

  sometimes: {
    'both tell it': entered('CPU1', shadow_invalidate_range_start),
    'one finds the entry gone': returned(shadow_zap_range, false),
    'the page is reclaimed': returned(shrink_folio_list, true),
  },

  variants: {
    'flush under the lock': safe(),
    'flush after the lock': fails('stale-translation', { patches: [FLUSH_LATE] }),
  },
});
