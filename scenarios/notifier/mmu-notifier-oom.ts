// The OOM reaper takes a victim's memory while the victim holds a subscriber's lock and waits for memory, or while
// its devices fault.
// linux v6.12 mm/oom_kill.c (__oom_reap_task_mm), mm/mmu_notifier.c (mn_hlist_invalidate_range_start).
import {
  entered,
  fails,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  spin_until,
  type Machine,
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  __oom_reap_task_mm,
  inserted,
  mirror_fault,
  mmu_notifier_invalidate_range_end,
  mmu_notifier_invalidate_range_start,
  mmu_notifier_range_init,
  mn_hlist_undo,
  mutex_lock,
  mutex_unlock,
  new_mirror,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_shadow,
  new_xpmem,
  oom_reap_vma,
  registered,
  shadow_fault,
  shadow_ops,
  tlb_finish_mmu,
  tlb_gather_mmu,
  unmap_vmas,
  xpmem_invalidate,
  xpmem_ops,
  type Mirror,
  type Mm,
  type Page,
  type Shadow,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const OTHER = ADDR + 4 * PAGE_SIZE;

interface State {
  readonly mm: Mm;
  readonly Y: Page;
  readonly gpu: Mirror;
  readonly kvm: Shadow;
}

/** The victim has two areas, X and Y; a device mirrors X. */
function setup(m: Machine): State {
  const [X, Y] = [new_page(m, 'X'), new_page(m, 'Y')];
  const mm = new_mm(m, 'mm', { [ADDR]: X, [OTHER]: Y }, { on: [] });
  const gpu = new_mirror(m, mm, 'gpu', { start: ADDR, length: PAGE_SIZE, mapped: { [ADDR]: X } });
  inserted(m, gpu.sub);
  return { mm, Y, gpu, kvm: new_shadow(m, mm, 'kvm') };
}

/** Two subscribers: one that can do without sleeping, and one that cannot. */
function setup_two(m: Machine): State {
  const state = setup(m);
  const { mm, kvm } = state;
  registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(kvm)));
  registered(
    m,
    new_mmu_notifier(m, mm, 'xpmem->mmu_notifier', xpmem_ops(new_xpmem(m, mm, 'xpmem'))),
  );
  return state;
}

/** The device faults in what was refused. */
const UNDO = {
  setup: setup_two,
  run: {
    CPU0: ({ mm }: State) => __oom_reap_task_mm(mm),
    CPU1: ({ kvm }: State) => shadow_fault(kvm, OTHER),
  },
};

/** Nobody is in the way: one area, whose page devices map or fault in while it is taken. */
function reaped(m: Machine): State {
  const X = new_page(m, 'X');
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
  const gpu = new_mirror(m, mm, 'gpu', { start: ADDR, length: PAGE_SIZE, mapped: { [ADDR]: X } });
  inserted(m, gpu.sub);
  const kvm = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
  registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(kvm)));
  return { mm, Y: X, gpu, kvm };
}

const reaping = (faults: (s: State) => Steps<unknown>) => ({
  setup: reaped,
  run: { CPU0: ({ mm }: State) => __oom_reap_task_mm(mm), CPU1: faults },
});

const KVM_FAULTS = reaping(({ kvm }) => shadow_fault(kvm, ADDR));
const MIRROR_FAULTS = reaping(({ gpu }) => mirror_fault(gpu, ADDR));

/** The refusal is not heard: the area is unmapped all the same. */
const TAKEN_ALL_THE_SAME = patch(oom_reap_vma, function* (mm, start, end) {
  const tlb = yield* tlb_gather_mmu(mm);
  const range = mmu_notifier_range_init(mm, start, end, false);
  const started = yield* mmu_notifier_invalidate_range_start(range);
  yield* unmap_vmas(tlb, start, end);
  if (started) yield* mmu_notifier_invalidate_range_end(range);
  yield* tlb_finish_mmu(tlb);
  return started;
});

/** The hooks are not there. */
const NOT_TOLD = [
  patch(mmu_notifier_invalidate_range_start, function* () {
    return true;
  }),
  patch(mmu_notifier_invalidate_range_end, nop),
];

const REAPED = ['reaped, kvm faults', 'reaped, the mirror faults'];

export default scenario<State>('mmu-notifier-oom', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup,

  run: {
    CPU0: ({ mm }) => __oom_reap_task_mm(mm),
    // Allocates under the lock that invalidate() takes: waits until a page is free.
    *CPU1({ mm, Y, gpu }) {
      yield* mutex_lock(gpu.user_lock);
      yield* spin_until([mm.kernel.folio(Y)._refcount], (count) => count === 0);
      yield* mutex_unlock(gpu.user_lock);
    },
  },

  sometimes: {
    'the device refuses': only(
      ['not blockable', 'undone', 'reaped, the mirror faults'],
      returned(__oom_reap_task_mm, false),
    ),
    'the memory is taken': only(REAPED, returned(__oom_reap_task_mm, true)),
    'the device finds its page gone': only(
      ['reaped, the mirror faults'],
      returned(mirror_fault, false),
    ),
    'the device had found it': only(['reaped, the mirror faults'], returned(mirror_fault, true)),
    'kvm finds its page gone': only(['reaped, kvm faults'], returned(shadow_fault, false)),
    'kvm had found it': only(['reaped, kvm faults'], returned(shadow_fault, true)),
    'the start of the other is taken back': only(['undone'], entered('CPU0', mn_hlist_undo)),
    'the device gets its page': only(['undone'], returned(shadow_fault, true)),
  },

  variants: {
    'not blockable': safe({ shows: ['N11'] }),
    // N11: the reaper waits for the lock of who waits for the reaper.
    blockable: fails('deadlock', {
      shows: ['N11'],
      patches: [
        patch(oom_reap_vma, function* (mm, start, end) {
          const tlb = yield* tlb_gather_mmu(mm);
          const range = mmu_notifier_range_init(mm, start, end);
          yield* mmu_notifier_invalidate_range_start(range);
          yield* unmap_vmas(tlb, start, end);
          yield* mmu_notifier_invalidate_range_end(range);
          yield* tlb_finish_mmu(tlb);
          return true;
        }),
      ],
    }),
    'the driver does not look': fails('sleep-in-atomic', {
      shows: ['N11'],
      run: { CPU0: ({ mm }) => __oom_reap_task_mm(mm), CPU1: ({ mm }) => __oom_reap_task_mm(mm) },
      setup(m) {
        const state = setup(m);
        const xpmem = new_xpmem(m, state.mm, 'xpmem');
        const ops = {
          *invalidate_range_start() {
            yield* xpmem_invalidate(xpmem, ADDR, ADDR + PAGE_SIZE);
            return true;
          },
        };
        registered(m, new_mmu_notifier(m, state.mm, 'xpmem->mmu_notifier', ops));
        return state;
      },
    }),
    undone: safe(UNDO),
    'reaped, kvm faults': safe(KVM_FAULTS),
    'reaped, the mirror faults': safe(MIRROR_FAULTS),
    'reaped, nobody is told': fails(['stale-translation', 'property'], {
      ...KVM_FAULTS,
      patches: NOT_TOLD,
    }),
    'refused, taken all the same': fails(['stale-translation', 'property'], {
      ...MIRROR_FAULTS,
      patches: [TAKEN_ALL_THE_SAME],
    }),
    // A start without an end: the count never comes down, and every fault tries again.
    'not undone': fails(['livelock', 'property'], {
      ...UNDO,
      patches: [patch(mn_hlist_undo, nop)],
    }),
  },
});
