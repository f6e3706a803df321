// A device begins to mirror a page that is being taken away, and faults at once.  What does it know of an invalidation
// that has begun without it?  linux v6.12 mm/mmu_notifier.c (__mmu_interval_notifier_insert).
import { entered, fails, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  __mmu_interval_notifier_insert,
  hlist_add_head_rcu,
  inserted,
  madvise_dontneed,
  mm_take_all_locks,
  mirror_fault,
  mirror_invalidate,
  mmu_interval_notifier_insert,
  mutex_lock,
  new_file,
  new_mirror,
  new_mm,
  new_page,
  new_page_of_file,
  notifiers_of,
  shrink_folio_list,
  spin_lock,
  spin_unlock,
  tree_of,
  type Mirror,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly nic: Mirror;
}

/** Another device mirrors from `other`: the same page, or one that nobody takes away. */
function state(m: Machine, other: number): State {
  const X = new_page(m, 'X');
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
  inserted(m, new_mirror(m, mm, 'gpu', { start: other, length: PAGE_SIZE }).sub);
  return { mm, X, nic: new_mirror(m, mm, 'nic', { start: ADDR, length: PAGE_SIZE }) };
}

/** The invalidation that is going on has met nobody, and no epoch is open. */
const ALONE = { setup: (m: Machine) => state(m, ADDR + 4 * PAGE_SIZE) };

/** Nobody has subscribed to anything of the process, and what takes the page holds no mmap_lock. */
const FIRST = {
  setup(m: Machine): State {
    const file = new_file(m, 'F', { shmem: false });
    const X = new_page_of_file(m, 'X', file);
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [], rwsem: file.i_mmap_rwsem });
    return { mm, X, nic: new_mirror(m, mm, 'nic', { start: ADDR, length: PAGE_SIZE }) };
  },
  run: {
    CPU0: ({ mm, X }: State) => shrink_folio_list(mm, X),
    *CPU1({ nic }: State) {
      yield* mmu_interval_notifier_insert(nic.sub);
      yield* mirror_fault(nic, ADDR);
    },
  },
};

/** mmap_lock is held, and nothing else. */
const NO_OTHER_LOCKS = patch(mm_take_all_locks, function* (mm) {
  yield* mutex_lock(notifiers_of(mm).mm_all_locks_mutex);
  return [];
});

/** The subscription begins with the number of an epoch that is over, whatever is going on. */
const AS_IF_QUIET = patch(__mmu_interval_notifier_insert, function* (sub) {
  const { subs } = notifiers_of(sub.mm);
  yield* spin_lock(subs.lock);
  const seq = yield* READ_ONCE(subs.invalidate_seq);
  yield* WRITE_ONCE(sub.invalidate_seq, seq % 2 === 1 ? seq - 2 : seq - 1);
  if (seq % 2 === 1) yield* WRITE_ONCE(sub.deferred, 1);
  else yield* hlist_add_head_rcu(sub, tree_of(sub.mm));
  yield* spin_unlock(subs.lock);
});

export default scenario<State>('interval-notifier-insert', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup: (m) => state(m, ADDR),

  run: {
    CPU0: ({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE),
    *CPU1({ nic }) {
      yield* mmu_interval_notifier_insert(nic.sub);
      yield* mirror_fault(nic, ADDR);
    },
  },

  sometimes: {
    'the new device gets the page': returned(mirror_fault, true),
    'and loses it': only(
      ['no epoch yet', 'no epoch yet (tso)', 'first'],
      entered('CPU0', mirror_invalidate),
    ),
    'the page was gone': returned(mirror_fault, false),
    'the end of the epoch inserts it': only(['an open epoch'], entered('CPU0', hlist_add_head_rcu)),
  },

  variants: {
    'an open epoch': safe(),
    'an open epoch, overlooked': fails('stale-translation', { patches: [AS_IF_QUIET] }),
    'no epoch yet': safe(ALONE),
    'no epoch yet (tso)': safe({ ...ALONE, model: 'tso' }),
    'no epoch yet, and none begun': fails('stale-translation', {
      ...ALONE,
      patches: [AS_IF_QUIET],
    }),
    // It registers the address space too: N2 of interval notifiers.
    first: safe(FIRST),
    'first, mmap_lock only': fails(['stale-translation', 'property'], {
      ...FIRST,
      shows: ['N2'],
      patches: [NO_OTHER_LOCKS],
    }),
  },
});
