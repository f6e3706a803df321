// The OOM reaper's start is refused by one subscriber when another has begun.  Who ends what has begun?
// linux v6.12 mm/mmu_notifier.c (__mmu_notifier_invalidate_range_start) ends it for the subscribers of the list, and
// seems not to end it for interval notifiers: "as in v6.12" is that form, and whoever waits for the end of the epoch
// waits for ever, asleep (a deadlock: nothing is tried again).
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
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  __oom_reap_task_mm,
  fetch_add,
  inserted,
  mirror_fault,
  mirror_invalidate,
  mirror_zap,
  mmu_interval_notifier_remove,
  mmu_notifier_release,
  mn_itree_undo,
  new_mirror,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_xpmem,
  notifiers_of,
  registered,
  xpmem_ops,
  type Mirror,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly gpu: Mirror;
  /** How many have done what they had to do. */
  readonly done: Word;
}

/** A device that mirrors from `start`, and takes its lock without sleeping; and one that cannot do without. */
function state(m: Machine, start: number): State {
  const X = new_page(m, 'X');
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
  const gpu = new_mirror(m, mm, 'gpu', { start, length: PAGE_SIZE });
  inserted(m, gpu.sub);
  const xpmem = new_xpmem(m, mm, 'xpmem');
  registered(m, new_mmu_notifier(m, mm, 'xpmem->mmu_notifier', xpmem_ops(xpmem)));
  return { mm, gpu, done: m.memory.variable('done') };
}

const then_done = (does: (s: State) => Steps<unknown>) =>
  function* (s: State) {
    yield* does(s);
    yield* fetch_add(s.done, 1);
  };

const REAPS = then_done(({ mm }) => __oom_reap_task_mm(mm));

/**
 * The victim exits: its address space, and then its files, the device's among them. What the device mirrors is
 * not what was refused, so no epoch had begun: the next one does not end.
 */
const EXIT = {
  setup: (m: Machine) => state(m, ADDR + PAGE_SIZE),
  run: {
    CPU0: REAPS,
    CPU1: then_done(function* ({ mm, gpu }) {
      yield* mmu_notifier_release(mm); // exit_mmap()
      yield* mmu_interval_notifier_remove(gpu.sub);
    }),
  },
};

/** The form of linux v6.12: one step less. */
const V6_12 = [patch(mn_itree_undo, nop)];

export default scenario<State>('mmu-notifier-refused', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup: (m) => state(m, ADDR),

  run: { CPU0: REAPS, CPU1: then_done(({ gpu }) => mirror_fault(gpu, ADDR)) },

  always: {
    'what has begun ends, once': (v) => {
      const active = v.read(notifiers_of(v.s.mm).subs.active_invalidate_ranges);
      return active >= 0 && (v.read(v.s.done) < 2 || active === 0);
    },
  },

  sometimes: {
    'the start is refused': returned(__oom_reap_task_mm, false),
    'when the device had begun': only(['ended'], entered('CPU0', mirror_zap)),
    'the device refuses': only(['ended'], returned(mirror_invalidate, false)),
    'the device gets the page': only(['ended'], returned(mirror_fault, true)),
    'the device is closed': only(['exit'], returned(mmu_interval_notifier_remove, undefined)),
  },

  variants: {
    ended: safe(),
    'as in v6.12': fails(['deadlock', 'property'], { patches: V6_12 }),
    exit: safe(EXIT),
    'exit, as in v6.12': fails(['deadlock', 'property'], { ...EXIT, patches: V6_12 }),
  },
});
