// The address space ends while its subscriber unregisters, or while the device still faults.  What may come after
// release()?  linux v6.12 mm/mmu_notifier.c (mn_hlist_release, mmu_notifier_unregister), mm/mmap.c (exit_mmap).
import {
  entered,
  fails,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  exit_mmap,
  flush_secondary_tlb,
  hlist_del_init_rcu,
  hlist_first,
  hlist_unhashed_lockless,
  is_dead,
  kmem_cache_create,
  kmem_cache_free,
  mn_hlist_release,
  new_file,
  new_object,
  new_page_of_file,
  notifiers_of,
  shadow_invalidate_range_start,
  shrink_folio_list,
  srcu_read_lock,
  srcu_read_unlock,
  subscribers,
  mmu_notifier_unregister,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_shadow,
  registered,
  shadow_fault,
  shadow_ops,
  shadow_release,
  shadow_zap_range,
  spin_lock,
  spin_unlock,
  synchronize_srcu,
  xchg,
  type Mm,
  type MmuNotifier,
  type Page,
  type Shadow,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly shadow: Shadow;
  readonly mn: MmuNotifier;
}

function state(m: Machine, mm: Mm, X: Page): State {
  const shadow = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
  const mn = registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(shadow)));
  return { mm, X, shadow, mn };
}

/** The last user of the address space goes; the file of the device is still open. */
const EXIT = ({ mm }: State) => exit_mmap(mm);

/** A page of a file, which reclaim finds while the address space ends. */
const RECLAIM = {
  setup(m: Machine) {
    const file = new_file(m, 'F', { shmem: false });
    const X = new_page_of_file(m, 'X', file);
    return state(m, new_mm(m, 'mm', { [ADDR]: X }, { on: [], rwsem: file.i_mmap_rwsem }), X);
  },
  run: { CPU0: ({ mm, X }: State) => shrink_folio_list(mm, X), CPU1: EXIT },
};

/** The order that it had until 2012: nobody is on the list, and the device still maps its pages. */
const DELETED_FIRST = patch(mn_hlist_release, function* (mm) {
  const { srcu, subs } = notifiers_of(mm);
  const list = subscribers(mm);
  const id = yield* srcu_read_lock(srcu);
  for (let mn = yield* hlist_first(list); mn; mn = yield* hlist_first(list)) {
    yield* spin_lock(subs.lock);
    yield* hlist_del_init_rcu(mn, list);
    yield* spin_unlock(subs.lock);
    if (mn.ops.release) yield* mn.ops.release(mn);
  }
  yield* srcu_read_unlock(srcu, id);
  yield* synchronize_srcu(srcu);
});

/** The device faults, at any moment before its file is closed. */
const FAULTS = { CPU0: ({ shadow }: State) => shadow_fault(shadow, ADDR), CPU1: EXIT };

/** A driver whose release() does its work once: who comes second leaves at once. */
const RELEASE_ONCE = patch(shadow_release, function* (shadow) {
  if ((yield* xchg(shadow.dead, 1)) === 1) return;
  yield* spin_lock(shadow.mmu_lock);
  const zapped = yield* shadow_zap_range(shadow, 0, Number.MAX_SAFE_INTEGER);
  if (zapped) yield* flush_secondary_tlb(shadow);
  yield* spin_unlock(shadow.mmu_lock);
});

/** A driver whose release() frees something as well: without an account of it, or (`once`) with. */
function frees(m: Machine, once: boolean): State {
  const X = new_page(m, 'X');
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
  const shadow = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
  const cache = kmem_cache_create('context', ['id']);
  const context = new_object(m, cache, 'context', {});
  const freed = m.memory.variable('freed');
  const mn = new_mmu_notifier(m, mm, 'kvm->mmu_notifier', {
    ...shadow_ops(shadow),
    *release() {
      yield* shadow_release(shadow);
      if (once && (yield* xchg(freed, 1)) === 1) return;
      yield* kmem_cache_free(cache, context);
    },
  });
  return { mm, X, shadow, mn: registered(m, mn) };
}

/** Where release() may run twice. */
const TWICE = ['unregister', 'unregister (tso)', 'released twice', 'released twice, frees once'];

export default scenario<State>('mmu-notifier-release', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m) {
    const X = new_page(m, 'X');
    return state(m, new_mm(m, 'mm', { [ADDR]: X }, { on: [] }), X);
  },

  run: { CPU0: ({ mn }) => mmu_notifier_unregister(mn), CPU1: EXIT },

  sometimes: {
    'unregister() runs release() itself': only(TWICE, entered('CPU0', shadow_release)),
    'and the end of the address space too': only(TWICE, entered('CPU1', shadow_release)),
    'the end of the address space was first': only(TWICE, returned(hlist_unhashed_lockless, true)),
    'the page is reclaimed': only(['reclaim', 'reclaim (tso)'], returned(shrink_folio_list, true)),
    'reclaim tells the device': only(
      ['reclaim', 'reclaim (tso)'],
      entered('CPU0', shadow_invalidate_range_start),
    ),
    'it finds the device released': only(
      ['reclaim', 'reclaim (tso)'],
      returned(shadow_zap_range, false),
    ),
    'the device got the page before': only(['fault'], returned(shadow_fault, true)),
    'the device gets nothing any more': only(['fault'], returned(is_dead, true)),
  },

  variants: {
    unregister: safe({ shows: ['N6'], patches: [RELEASE_ONCE] }),
    // exit_mmap() finds that unregister() has called release() already, and does not wait until it is over.
    'unregister, not waited for': fails('stale-translation', {
      shows: ['N6'],
      patches: [RELEASE_ONCE, patch(synchronize_srcu, nop)],
    }),
    // release() may be called twice, and at once: a driver whose second does what the first did is right.
    'released twice': safe(),
    'released twice, frees once': safe({ setup: (m) => frees(m, true) }),
    'released twice, frees twice': fails('double-free', { setup: (m) => frees(m, false) }),
    reclaim: safe(RECLAIM),
    'reclaim, deleted first': fails('stale-translation', {
      ...RECLAIM,
      patches: [DELETED_FIRST],
    }),
    'reclaim (tso)': safe({ ...RECLAIM, model: 'tso' }),
    'unregister (tso)': safe({ model: 'tso', patches: [RELEASE_ONCE] }),
    'unregister, not waited for (tso)': fails('stale-translation', {
      model: 'tso',
      patches: [RELEASE_ONCE, patch(synchronize_srcu, nop)],
    }),
    // After release() nobody is told of anything: it must leave nothing that maps pages again.
    fault: safe({ run: FAULTS }),
    'fault, not frozen': fails('stale-translation', {
      run: FAULTS,
      patches: [
        patch(is_dead, function* () {
          return false;
        }),
      ],
    }),
    'fault, nobody released': fails('stale-translation', {
      run: FAULTS,
      patches: [patch(shadow_release, nop)],
    }),
  },
});
