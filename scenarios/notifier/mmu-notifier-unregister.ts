// A VM is destroyed while the primary MMU tells its subscribers: its structure is freed right after it has
// unregistered.  Who may still be in it?
// linux v6.12 mm/mmu_notifier.c (mmu_notifier_unregister), virt/kvm/kvm_main.c (kvm_destroy_vm).
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
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  hlist_del_init_rcu,
  kmem_cache_free,
  madvise_dontneed,
  mmu_notifier_unregister,
  new_file,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_page_of_file,
  new_shadow,
  registered,
  remove_subscription,
  shadow_invalidate_range_end,
  shadow_invalidate_range_start,
  shadow_ops,
  shadow_release,
  shrink_folio_list,
  subscribers,
  synchronize_srcu,
  type Mm,
  type MmuNotifier,
  type Page,
  type Shadow,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface Vm {
  readonly kvm: Shadow;
  readonly mn: MmuNotifier;
}

interface State extends Vm {
  readonly mm: Mm;
  readonly X: Page;
  /** Another of the same process, where there is one. */
  readonly other?: Vm;
}

function state(m: Machine, mm: Mm, X: Page): State {
  const kvm = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
  const mn = registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(kvm)));
  return { mm, X, kvm, mn };
}

/** kvm_destroy_vm(). */
function* destroys({ kvm, mn }: Vm): Steps<void> {
  yield* mmu_notifier_unregister(mn);
  yield* kmem_cache_free(mn.cache, mn.object);
  yield* kmem_cache_free(kvm.cache, kvm.object);
}

const against = (takes: (s: State) => Steps<unknown>) => ({
  run: { CPU0: (s: State) => destroys(s), CPU1: takes },
});

const MADVISE = against(({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE));

const RECLAIM = {
  setup(m: Machine) {
    const file = new_file(m, 'F', { shmem: false });
    const X = new_page_of_file(m, 'X', file);
    return state(m, new_mm(m, 'mm', { [ADDR]: X }, { on: [], rwsem: file.i_mmap_rwsem }), X);
  },
  ...against(({ mm, X }) => shrink_folio_list(mm, X)),
};

/** Both are destroyed at once, and then somebody walks the list. */
const TWO = {
  setup(m: Machine): State {
    const X = new_page(m, 'X');
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
    const kvm = new_shadow(m, mm, 'other');
    const mn = registered(m, new_mmu_notifier(m, mm, 'other->mmu_notifier', shadow_ops(kvm)));
    return { ...state(m, mm, X), other: { kvm, mn } };
  },
  run: {
    CPU0: (s: State) => destroys(s),
    *CPU1({ other, mm }: State) {
      if (other) yield* destroys(other);
      yield* madvise_dontneed(mm, ADDR, PAGE_SIZE);
    },
  },
};

const section = (place: string) => [`srcu_read_lock() in ${place}()`];

export default scenario<State>('mmu-notifier-unregister', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m) {
    const X = new_page(m, 'X');
    return state(m, new_mm(m, 'mm', { [ADDR]: X }, { on: [] }), X);
  },

  run: MADVISE.run,

  sometimes: {
    'the VM is told of the start': entered('CPU1', shadow_invalidate_range_start),
    'and of the end': entered('CPU1', shadow_invalidate_range_end),
    'it takes its page away itself': entered('CPU0', shadow_release),
    'the page is reclaimed': only(['reclaim'], returned(shrink_folio_list, true)),
  },

  variants: {
    madvise: safe(MADVISE),
    'madvise (tso)': safe({ ...MADVISE, model: 'tso' }),
    'not waited for (tso)': fails('use-after-free', {
      ...MADVISE,
      model: 'tso',
      patches: [patch(synchronize_srcu, nop)],
    }),
    reclaim: safe(RECLAIM),
    'not waited for': fails('use-after-free', {
      ...MADVISE,
      patches: [patch(synchronize_srcu, nop)],
    }),
    'start outside a section': fails('use-after-free', {
      ...MADVISE,
      without: section('mn_hlist_invalidate_range_start'),
    }),
    'end outside a section': fails('use-after-free', {
      ...MADVISE,
      without: section('mmu_notifier_invalidate_range_end'),
    }),
    two: safe(TWO),
    // One takes the other's neighbour for his own, and what is freed stays on the list.
    'two, without the lock of the list': fails('use-after-free', {
      ...TWO,
      patches: [patch(remove_subscription, (mn) => hlist_del_init_rcu(mn, subscribers(mn.mm)))],
    }),
    'flush outside a section': fails('use-after-free', {
      ...MADVISE,
      without: section('mmu_notifier_arch_invalidate_secondary_tlbs'),
    }),
  },
});
