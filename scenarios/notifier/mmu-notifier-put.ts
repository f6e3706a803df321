// A subscription that a driver's users share is put, and freed, while others look it up, walk over it, or end the
// address space.  linux v6.12 mm/mmu_notifier.c (mmu_notifier_get_locked, mmu_notifier_put, mn_hlist_release).
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
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  __mmu_notifier_register,
  exit_mmap,
  find_get_mmu_notifier,
  kmem_cache_free,
  madvise_dontneed,
  mmu_notifier_get,
  mmu_notifier_put,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_shadow,
  registered,
  shadow_ops,
  shadow_release,
  subscription_of,
  type Mm,
  type MmuNotifier,
  type MmuNotifierOps,
  type Shadow,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly kvm: Shadow;
  readonly mn: MmuNotifier;
  /** What the next first user registers. */
  readonly fresh: MmuNotifier;
  readonly released: Word;
  readonly freed: Word;
}

function state(m: Machine, isUsed: boolean): State {
  const X = new_page(m, 'X');
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
  const kvm = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
  const [released, freed] = [m.memory.variable('released'), m.memory.variable('freed')];
  const ops: MmuNotifierOps = {
    ...shadow_ops(kvm),
    *release() {
      yield* shadow_release(kvm);
      yield* WRITE_ONCE(released, 1);
    },
    *free_notifier(self) {
      yield* kmem_cache_free(self.cache, self.object);
      yield* WRITE_ONCE(freed, 1);
    },
  };
  const mn = new_mmu_notifier(m, mm, 'mn', ops);
  const fresh = new_mmu_notifier(m, mm, 'fresh', ops);
  return { mm, kvm, mn: isUsed ? registered(m, mn) : mn, fresh, released, freed };
}

/** The driver takes back what it has mapped, and then puts its subscription. */
function* closes({ kvm, mn }: State): Steps<void> {
  yield* shadow_release(kvm);
  yield* mmu_notifier_put(mn);
}

const walked = (closing: (s: State) => Steps<void>) => ({
  run: { CPU0: closing, CPU1: ({ mm }: State) => madvise_dontneed(mm, ADDR, PAGE_SIZE) },
});

const WALK = walked(closes);

const EXIT = { run: { CPU0: closes, CPU1: ({ mm }: State) => exit_mmap(mm) } };

/** Another user comes while the first goes. */
const GET = {
  run: {
    CPU0: ({ mn }: State) => mmu_notifier_put(mn),
    *CPU1({ fresh }: State) {
      const mn = yield* mmu_notifier_get(fresh);
      const users = yield* READ_ONCE(mn.users);
      yield* mmu_notifier_put(mn);
      return users;
    },
  },
};

/** Two users come at once, and there is none yet. */
const FIRST = {
  setup: (m: Machine) => state(m, false),
  run: {
    CPU0: ({ mn }: State) => mmu_notifier_get(mn),
    CPU1: ({ fresh }: State) => mmu_notifier_get(fresh),
  },
};

/** Looks for the subscription, and counts, without the lock of the list. */
const FOUND_UNLOCKED = patch(find_get_mmu_notifier, function* (mm, ops) {
  const found = yield* subscription_of(mm, ops);
  if (found) yield* WRITE_ONCE(found.users, (yield* READ_ONCE(found.users)) + 1);
  return found;
});

/** Neither of two first users keeps the other out. */
const GOT_UNLOCKED = patch(mmu_notifier_get, function* (fresh) {
  const known = yield* find_get_mmu_notifier(fresh.mm, fresh.ops);
  if (!known) yield* __mmu_notifier_register(fresh);
  return known ?? fresh;
});

export default scenario<State>('mmu-notifier-put', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup: (m) => state(m, true),

  run: WALK.run,

  always: {
    'one subscription for all users': (v) =>
      v.read(v.s.mn.pprev) === 0 || v.read(v.s.fresh.pprev) === 0,
  },

  sometimes: {
    'the subscription is freed': only(['walk', 'get', 'get (tso)'], (v) => v.read(v.s.freed) === 1),
    'without release()': only(
      ['exit'],
      (v) => v.read(v.s.freed) === 1 && v.read(v.s.released) === 0,
    ),
    'and with it': only(
      ['exit', 'exit (tso)'],
      (v) => v.read(v.s.freed) === 1 && v.read(v.s.released) === 1,
    ),
    'a user finds it': only(
      ['get', 'first'],
      returned(find_get_mmu_notifier, (mn) => mn !== null),
    ),
    'a user finds none': only(
      ['get', 'get (tso)', 'first'],
      entered('CPU1', __mmu_notifier_register),
    ),
  },

  variants: {
    walk: safe(WALK),
    'walk, freed at once': fails('use-after-free', {
      ...WALK,
      without: ['the SRCU grace period in mmu_notifier_put()'],
    }),
    'walk, left to release()': fails(
      ['stale-translation', 'property'],
      walked(({ mn }) => mmu_notifier_put(mn)),
    ),
    exit: safe(EXIT),
    'exit outside a section': fails('use-after-free', {
      ...EXIT,
      without: ['srcu_read_lock() in mn_hlist_release()'],
    }),
    get: safe(GET),
    'get (tso)': safe({ ...GET, model: 'tso' }),
    'exit (tso)': safe({ ...EXIT, model: 'tso' }),
    'get, without the lock': fails(['use-after-free', 'double-free'], {
      ...GET,
      patches: [FOUND_UNLOCKED],
    }),
    first: safe(FIRST),
    'first, without mmap_lock': fails('property', { ...FIRST, patches: [GOT_UNLOCKED] }),
  },
});
