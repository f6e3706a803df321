// Removing a subscription while the tree is walked without a lock.
// linux v6.12 mm/mmu_notifier.c (mmu_interval_notifier_remove, mn_itree_inv_end).
import { entered, fails, only, patch, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  hlist_add_head_rcu,
  hlist_del_init_rcu,
  inserted,
  kmem_cache_free,
  mirror_invalidate,
  mmu_interval_notifier_insert,
  mmu_interval_notifier_remove,
  mmu_interval_read_begin,
  mmu_notifier_invalidate_range_end,
  mmu_notifier_invalidate_range_start,
  mmu_notifier_range_init,
  mn_itree_remove,
  mutex_lock,
  mutex_unlock,
  new_mirror,
  new_mm,
  new_page,
  notifiers_of,
  type Mirror,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly gpu: Mirror;
  readonly nic: Mirror;
}

function* invalidates({ mm }: State) {
  const range = mmu_notifier_range_init(mm, ADDR, ADDR + PAGE_SIZE);
  yield* mmu_notifier_invalidate_range_start(range);
  yield* mmu_notifier_invalidate_range_end(range);
}

const REMOVE = {
  CPU0: invalidates,
  *CPU1({ gpu: { sub } }: State) {
    yield* mmu_interval_notifier_remove(sub);
    yield* kmem_cache_free(sub.cache, sub.object);
  },
};

/** Another subscription comes meanwhile. */
const INSERT = {
  CPU0: invalidates,
  *CPU1({ nic: { sub } }: State) {
    yield* mmu_interval_notifier_insert(sub);
    yield* mmu_interval_read_begin(sub);
  },
};

export default scenario<State>('interval-notifier-remove', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }, { on: [] });
    const mirror = (name: string): Mirror =>
      new_mirror(m, mm, name, { start: ADDR, length: PAGE_SIZE });
    const [gpu, nic] = [mirror('gpu'), mirror('nic')];
    inserted(m, gpu.sub);
    return { mm, gpu, nic };
  },

  run: REMOVE,

  sometimes: {
    'the device is told': entered('CPU0', mirror_invalidate),
    'the end of the epoch removes it': only(['remove'], entered('CPU0', hlist_del_init_rcu)),
    'the end of the epoch inserts it': only(['insert'], entered('CPU0', hlist_add_head_rcu)),
  },

  variants: {
    remove: safe({ shows: ['I6', 'I8'] }),
    insert: safe({ shows: ['I6'], run: INSERT }),
    // I6: out of the tree at once, and freed, under who stands on it.
    'not deferred': fails('use-after-free', {
      shows: ['I6'],
      patches: [
        patch(mn_itree_remove, function* (sub) {
          const { subs, intervals } = notifiers_of(sub.mm);
          yield* hlist_del_init_rcu(sub, { first: subs.itree, nodes: [...intervals.values()] });
          return 0;
        }),
      ],
    }),
    'not waited for': fails('use-after-free', {
      shows: ['I6'],
      without: ['the wait of mmu_interval_notifier_remove() in mmu_interval_notifier_remove()'],
    }),
    // I8: the invalidation that is waited for waits for the lock.
    'the lock is held': fails('deadlock', {
      shows: ['I8'],
      run: {
        CPU0: invalidates,
        *CPU1({ gpu }: State) {
          yield* mutex_lock(gpu.user_lock);
          yield* mmu_interval_notifier_remove(gpu.sub);
          yield* mutex_unlock(gpu.user_lock);
        },
      },
    }),
    'the lock is held, read_begin': fails('deadlock', {
      shows: ['I8'],
      machine: x86_64({ cpus: 3 }),
      run: {
        CPU0: invalidates,
        *CPU1({ gpu }: State) {
          yield* mutex_lock(gpu.user_lock);
          yield* mmu_interval_read_begin(gpu.sub);
          yield* mutex_unlock(gpu.user_lock);
        },
        CPU2: invalidates, // the epoch of the first lasts until the second is over
      },
    }),
  },
});
