// A subscriber on another machine: invalidating takes a message and its answer.  Where may it be called?
// linux v6.12 mm/mmu_notifier.c; 2008 thread of the mmu-notifier-core patches (XPMEM).
import {
  entered,
  fails,
  only,
  patch,
  returned,
  safe,
  scenario,
  spin_until,
  type Machine,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  device_load,
  madvise_dontneed,
  mmu_notifier_unregister,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_xpmem,
  rcu_read_lock,
  registered,
  srcu_read_lock,
  wait_for_answer,
  xpmem_invalidate,
  xpmem_ops,
  xpmem_partition,
  type Mm,
  type MmuNotifier,
  type Xpmem,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const OTHER = ADDR + PAGE_SIZE;

interface State {
  readonly mm: Mm;
  readonly xpmem: Xpmem;
  readonly mn: MmuNotifier;
}

const zap = ({ mm }: State) => madvise_dontneed(mm, ADDR, PAGE_SIZE);

/** Two pages, which the device maps both. */
function two_pages(m: Machine): State {
  const [X, Y] = [new_page(m, 'X'), new_page(m, 'Y')];
  const pages = { [ADDR]: X, [OTHER]: Y };
  const mm = new_mm(m, 'mm', pages, { on: [] });
  const xpmem = new_xpmem(m, mm, 'xpmem', { mapped: pages });
  const mn = registered(m, new_mmu_notifier(m, mm, 'xpmem->mmu_notifier', xpmem_ops(xpmem)));
  return { mm, xpmem, mn };
}

const ANSWERS_TWO = ({ xpmem }: State) => xpmem_partition(xpmem, 2);

/** One page after the other. */
const IN_TURN = {
  setup: two_pages,
  run: {
    *CPU0({ mm }: State) {
      yield* madvise_dontneed(mm, ADDR, PAGE_SIZE);
      yield* madvise_dontneed(mm, OTHER, PAGE_SIZE);
    },
    CPU1: ANSWERS_TWO,
    CPU2: ({ xpmem }: State) => device_load(xpmem, OTHER),
  },
};

/** Both at once. */
const AT_ONCE = {
  setup: two_pages,
  run: {
    CPU0: zap,
    CPU1: ANSWERS_TWO,
    CPU2: ({ mm }: State) => madvise_dontneed(mm, OTHER, PAGE_SIZE),
  },
};

/** An answer is an answer: the one to the first message is still there when the second is sent. */
const ANY_ANSWER = patch(wait_for_answer, function* ({ answer }) {
  yield* spin_until([answer], (number) => number !== 0);
});

/** Two who take the page away, and nobody who answers. */
const TWO = { CPU0: zap, CPU1: zap };

/** Where one device looks for its page. */
const LOOKING = ['srcu', 'srcu (tso)', 'one after the other'];

export default scenario<State>('mmu-notifier-sleeping', {
  machine: x86_64({ cpus: 3 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const X = new_page(m, 'X');
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
    const xpmem = new_xpmem(m, mm, 'xpmem', { mapped: { [ADDR]: X } });
    const mn = registered(m, new_mmu_notifier(m, mm, 'xpmem->mmu_notifier', xpmem_ops(xpmem)));
    return { mm, xpmem, mn };
  },

  run: {
    CPU0: zap,
    CPU1: ({ xpmem }) => xpmem_partition(xpmem),
    CPU2: ({ xpmem }) => device_load(xpmem, ADDR),
  },

  sometimes: {
    'the other side is asked': entered('CPU0', xpmem_invalidate),
    'it has used the page before': only(LOOKING, returned(device_load, 0n)),
    'it finds the page gone': only(LOOKING, returned(device_load, null)),
  },

  variants: {
    srcu: safe({ shows: ['N8'] }),
    'one after the other': safe(IN_TURN),
    'one after the other, any answer': fails(['use-after-free', 'stale-translation'], {
      ...IN_TURN,
      patches: [ANY_ANSWER],
    }),
    'at once': safe(AT_ONCE),
    'srcu (tso)': safe({ model: 'tso' }),
    'at once (tso)': safe({ ...AT_ONCE, model: 'tso' }),
    'at once, without the mutex': fails(['stale-translation', 'deadlock'], {
      ...AT_ONCE,
      without: ['the lock mutex'],
    }),
    // N8: the walk of the list is a section in which nobody may sleep.
    rcu: fails('sleep-in-atomic', {
      shows: ['N8'],
      machine: x86_64({ cpus: 2 }),
      run: TWO,
      patches: [
        patch(srcu_read_lock, function* () {
          yield* rcu_read_lock();
          return 0;
        }),
      ],
    }),
    // N8: a method that unregisters waits for the section that it is called in.
    'unregisters from its method': fails('deadlock', {
      shows: ['N8'],
      machine: x86_64({ cpus: 2 }),
      run: TWO,
      setup(m: Machine) {
        const X = new_page(m, 'X');
        const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
        const xpmem = new_xpmem(m, mm, 'xpmem');
        const mn = new_mmu_notifier(m, mm, 'xpmem->mmu_notifier', {
          *invalidate_range_start(self) {
            yield* mmu_notifier_unregister(self);
            return true;
          },
        });
        return { mm, xpmem, mn: registered(m, mn) };
      },
    }),
  },
});
