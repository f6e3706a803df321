// The patches of 2008: registering, and taking pages away.  What may sleep, and under which lock?
// mmu-notifier-core v14 and v15 (linux-mm, April and May 2008); v4.13 mm/rmap.c for invalidate_page().
import {
  entered,
  fails,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  allocate_mmu_notifier_mm,
  down_write,
  folio_put,
  folio_remove_rmap_pte,
  kmem_cache_free,
  mm_find_pmd,
  mm_lock,
  mmu_notifier_invalidate_page,
  mmu_notifier_register_2008,
  mmu_notifier_register_v14,
  mmu_notifier_unregister_2008,
  new_mm,
  new_mmu_notifier_mm,
  new_notifier_2008,
  new_page,
  new_shadow,
  new_xpmem,
  pte_offset_map_lock,
  pte_page,
  pte_unmap_unlock,
  ptep_clear_flush,
  ptep_clear_flush_notify,
  shadow_fault,
  shadow_ops_2008,
  spin_lock,
  spin_unlock,
  unmap_mapping_range_2008,
  unmap_page_2008,
  xpmem_invalidate,
  type Mm,
  type MmuNotifier2008,
  type MmuNotifierMm,
  type Shadow,
  type Vma,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly n: MmuNotifierMm;
  readonly mn: MmuNotifier2008;
  readonly shadow: Shadow;
}

function state(m: Machine, isRegistered: boolean, maps: boolean = isRegistered): State {
  const X = new_page(m, 'X');
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
  const n = new_mmu_notifier_mm(m, mm);
  const shadow = new_shadow(m, mm, 'kvm', maps ? { mapped: { [ADDR]: X } } : {});
  const mn = new_notifier_2008(m, n, 'kvm->mmu_notifier', shadow_ops_2008(shadow), isRegistered);
  return { mm, n, mn, shadow };
}

/** The file is truncated meanwhile. */
const truncate = ({ mm, n }: State) => unmap_mapping_range_2008(n, mm.vmas[0] as Vma);

/** v14, and the device faults afterwards. */
const V14 = {
  *CPU0({ n, mn, shadow }: State) {
    yield* mmu_notifier_register_v14(n, mn);
    yield* shadow_fault(shadow, ADDR);
  },
  CPU1: truncate,
};

/** A page is reclaimed that the device maps, while the device faults. */
const RECLAIM = {
  setup: (m: Machine) => state(m, true),
  run: {
    CPU0: ({ shadow }: State) => shadow_fault(shadow, ADDR),
    CPU1: ({ n }: State) => unmap_page_2008(n, ADDR),
  },
};

/** The VM is destroyed meanwhile, which maps nothing any more, or (`maps`) still does. */
const destroyed = (takes: (s: State) => Steps<void>, maps = false) => ({
  setup: (m: Machine) => state(m, true, maps),
  run: {
    *CPU0({ n, mn }: State) {
      yield* mmu_notifier_unregister_2008(n, mn);
      yield* kmem_cache_free(mn.cache, mn.object);
    },
    CPU1: takes,
  },
});

const DESTROYED = destroyed(RECLAIM.run.CPU1);
const DESTROYED_RANGE = destroyed(truncate);

/** N12: it was moved behind the page-table lock, and nothing keeps the page until then. */
const TOLD_LATE = patch(unmap_page_2008, function* (n, addr) {
  const pmdp = yield* mm_find_pmd(n.mm, addr);
  const locked = pmdp && (yield* pte_offset_map_lock(n.mm, pmdp, addr));
  if (!locked) return;
  const page = pte_page(yield* ptep_clear_flush(n.mm, addr, locked.ptep));
  yield* folio_remove_rmap_pte(n.mm, page);
  yield* folio_put(page);
  yield* pte_unmap_unlock(locked.ptl);
  yield* mmu_notifier_invalidate_page(n, addr);
});

export default scenario<State>('mmu-notifier-core-2008', {
  machine: x86_64({ cpus: 2 }),
  setup: (m) => state(m, false),

  run: {
    *CPU0({ n, mn, shadow }) {
      yield* mmu_notifier_register_2008(n, mn);
      yield* shadow_fault(shadow, ADDR);
    },
    CPU1: truncate,
  },

  always: {
    'no end without its start': (v) => v.read(v.s.shadow.in_progress) >= 0,
  },

  sometimes: {
    'the device gets the page': only(['v15', 'invalidate_page'], returned(shadow_fault, true)),
    'it finds the page gone': only(['v15', 'invalidate_page'], returned(shadow_fault, false)),
    'the VM is destroyed': only(
      ['unregister, page', 'unregister, range'],
      returned(mmu_notifier_unregister_2008, undefined),
    ),
    'the page of the device is reclaimed': only(
      ['invalidate_page'],
      entered('CPU1', ptep_clear_flush_notify),
    ),
  },

  variants: {
    v15: safe({ shows: ['N1', 'N2'] }),
    // N1: memory is allocated, which may sleep, under the spinlocks of the reverse mapping.
    v14: fails('sleep-in-atomic', { shows: ['N1'], run: V14 }),
    // N1, had nobody noticed: the allocation reclaims, which takes a lock that its caller holds.
    'v14, the allocation reclaims': fails('deadlock', {
      shows: ['N1'],
      run: V14,
      patches: [
        patch(allocate_mmu_notifier_mm, function* (mm) {
          const { rwsem } = mm.vmas[0] as Vma; // shrink_page_list(), try_to_unmap()
          yield* spin_lock(rwsem);
          yield* spin_unlock(rwsem);
        }),
      ],
    }),
    'mmap_sem only': fails(['property', 'stale-translation'], {
      shows: ['N2'],
      patches: [
        patch(mm_lock, function* (mm) {
          yield* down_write(mm.mmap_lock);
          return [];
        }),
      ],
    }),
    invalidate_page: safe({ shows: ['N12'], ...RECLAIM }),
    'invalidate_page, late': fails('stale-translation', {
      shows: ['N12'],
      ...RECLAIM,
      patches: [TOLD_LATE],
    }),
    'unregister, page': safe(DESTROYED),
    'unregister, page, no section': fails('use-after-free', {
      ...DESTROYED,
      without: ['srcu_read_lock() in mmu_notifier_invalidate_page()'],
    }),
    'unregister, range': safe(DESTROYED_RANGE),
    'unregister, start, no section': fails('use-after-free', {
      ...DESTROYED_RANGE,
      without: ['srcu_read_lock() in mmu_notifier_invalidate_range_start()'],
    }),
    'unregister, end, no section': fails('use-after-free', {
      ...DESTROYED_RANGE,
      without: ['srcu_read_lock() in mmu_notifier_invalidate_range_end()'],
    }),
    // Off the list it is told of nothing, and its release() is still to come.
    'unregister, before release()': fails('stale-translation', destroyed(RECLAIM.run.CPU1, true)),
    'invalidate_page, sleeping': fails('sleep-in-atomic', {
      shows: ['N12'],
      run: RECLAIM.run,
      setup(m) {
        const s = state(m, true);
        const xpmem = new_xpmem(m, s.mm, 'xpmem');
        const invalidates = () => xpmem_invalidate(xpmem, ADDR, ADDR + PAGE_SIZE);
        const ops = {
          invalidate_page: invalidates,
          invalidate_range_start: invalidates,
          *invalidate_range_end() {
            // the other side asks again by itself
          },
        };
        new_notifier_2008(m, s.n, 'xpmem->mmu_notifier', ops, true);
        return s;
      },
    }),
  },
});
