// Is a page still used?  The primary MMU asks everybody who has a copy of its entries: with a flush, without one, or
// without taking the marks.  What do the answers promise?
// linux v6.12 include/linux/mmu_notifier.h (clear_flush_young, clear_young, test_young), virt/kvm/kvm_main.c;
// v6.13 mm/vmscan.c (lru_gen_look_around); specification of the secondary MMUs, section 1.4.
import {
  entered,
  fails,
  fn,
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
  READ_ONCE,
  WRITE_ONCE,
  bug_on,
  device_load,
  folio_referenced,
  kvm_aging_ops,
  kvm_flush_remote_tlbs,
  kvm_mmu_notifier_clear_young,
  lru_gen_look_around,
  mmu_notifier_clear_flush_young,
  mmu_notifier_clear_young,
  mmu_notifier_test_young,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_shadow,
  new_tdp_vm,
  notifiers_of,
  registered,
  shadow_clear_flush_young,
  shadow_clear_young,
  shadow_ops,
  shadow_test_young,
  vcpu_enters_once,
  type Kvm,
  type Mm,
  type MmuNotifier,
  type Page,
  type Shadow,
  type Vcpu,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const END = ADDR + PAGE_SIZE;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly kvm: Kvm;
  readonly gpu: Shadow;
  /** The marks have been taken; and somebody has used the page since. */
  readonly taken: Word;
  readonly used: Word;
}

/** X is mapped by a device, and by a guest (`byGuest`), which has used it: its entry has the mark. */
function both(m: Machine, byGuest = true): State {
  const X = new_page(m, 'X', 1);
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
  const mapped: Record<number, Page> = byGuest ? { 1: X } : {};
  const kvm = new_tdp_vm(m, mm, 'kvm', { vcpus: ['CPU0'], npages: 2, mapped, tables_for: [1] });
  const gpu = new_shadow(m, mm, 'gpu', { marks: true, mapped: { [ADDR]: X } });
  registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', kvm_aging_ops(kvm)));
  registered(m, new_mmu_notifier(m, mm, 'gpu->mmu_notifier', shadow_ops(gpu)));
  const word = (name: string): Word => m.memory.variable(name);
  return { mm, X, kvm, gpu, taken: word('taken'), used: word('used') };
}

/** Uses the page when the marks have been taken, and says so. */
function* uses({ taken, used }: State, how: () => Steps<unknown>): Steps<void> {
  if ((yield* READ_ONCE(taken)) === 0) return;
  yield* how();
  yield* WRITE_ONCE(used, 1);
}

const guest = (s: State) => uses(s, () => vcpu_enters_once(s.kvm.vcpus[0] as Vcpu, { gpa: ADDR }));
const device = (s: State) => uses(s, () => device_load(s.gpu, ADDR));

type Look = (s: State) => Steps<unknown>;

const test_young: Look = ({ mm }) => mmu_notifier_test_young(mm, ADDR);
const clear_young: Look = ({ mm }) => mmu_notifier_clear_young(mm, ADDR, END);
const clear_flush_young: Look = ({ mm }) => mmu_notifier_clear_flush_young(mm, ADDR, END);
const reclaim: Look = ({ mm, X }) => folio_referenced(mm, X);
const lru: Look = ({ mm, X }) => lru_gen_look_around(mm, X);

/** Takes the marks, and asks later: what does it say of a page that was used in between? */
const look_twice = fn(function* look_twice(
  s: State,
  look: Look,
  again: Look,
): Steps<'not used' | 'used, young' | 'used, old'> {
  yield* look(s);
  yield* WRITE_ONCE(s.taken, 1);
  const wasUsed = (yield* READ_ONCE(s.used)) === 1;
  const young = Boolean(yield* again(s));
  if (!wasUsed) return 'not used';
  return young ? 'used, young' : 'used, old';
});

/** Only a look that flushes promises that a use behind it is seen. */
const asks = (user: (s: State) => Steps<void>, look: Look, again: Look = test_young) => ({
  run: {
    CPU0: user,
    *CPU1(s: State) {
      const isOld = (yield* look_twice(s, look, again)) === 'used, old';
      const isPromised = look === clear_flush_young || look === reclaim;
      yield* bug_on(isOld && isPromised, 'X', 'X was used behind a flush, and looks old.');
    },
  },
});

/** Asking takes nothing: who asks next gets the same answer. */
const TESTED = {
  setup: (m: Machine) => both(m, false),
  run: {
    CPU0: ({ gpu }: State) => device_load(gpu, ADDR),
    *CPU1({ mm }: State) {
      const young = yield* mmu_notifier_test_young(mm, ADDR);
      const still = yield* mmu_notifier_clear_young(mm, ADDR, END);
      yield* bug_on(young && !still, 'X', 'X looks old because somebody has asked whether it is.');
    },
  },
};

/** The answer of the first who is asked, the device, is taken for all. */
const FIRST_ANSWER = patch(mmu_notifier_clear_flush_young, function* (mm, start, end) {
  const gpu = [...notifiers_of(mm).notifiers.values()].at(-1) as MmuNotifier;
  return yield* gpu.ops.clear_flush_young?.(gpu, start, end) ?? nothing();
});

function* nothing(): Steps<boolean> {
  return false;
}

const FLUSHED = ['guest, flushed', 'device, flushed', 'guest, reclaim asks'];
const NOT_FLUSHED = ['guest, not flushed', 'device, not flushed', 'guest, the LRU asks'];

export default scenario<State>('mmu-notifier-aging', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup: both,
  run: asks(guest, clear_flush_young).run,

  sometimes: {
    'it was used, and looks young': only(
      [...FLUSHED, ...NOT_FLUSHED],
      returned(look_twice, 'used, young'),
    ),
    // Allowed: it was used through a translation whose mark is older than the look.
    'it was used, and looks old': only(NOT_FLUSHED, returned(look_twice, 'used, old')),
    'all are asked': only(['guest, reclaim asks'], entered('CPU1', shadow_clear_flush_young)),
    'nobody flushes': only(['guest, the LRU asks'], entered('CPU1', kvm_mmu_notifier_clear_young)),
    'it was used before': only(['tested'], returned(mmu_notifier_test_young, true)),
  },

  variants: {
    'guest, flushed': safe(asks(guest, clear_flush_young)),
    'guest, not flushed': safe(asks(guest, clear_young)),
    'device, flushed': safe(asks(device, clear_flush_young)),
    'device, not flushed': safe(asks(device, clear_young)),
    tested: safe(TESTED),
    'guest, reclaim asks': safe(asks(guest, reclaim, reclaim)),
    'guest, the LRU asks': safe(asks(guest, lru, lru)),
    'guest, reclaim asks, first answer': fails('property', {
      ...asks(guest, reclaim, reclaim),
      patches: [FIRST_ANSWER],
    }),
    'guest, flush forgotten': fails('property', {
      ...asks(guest, clear_flush_young),
      patches: [patch(kvm_flush_remote_tlbs, nop)],
    }),
    'tested, and taken': fails('property', {
      ...TESTED,
      patches: [
        patch(shadow_test_young, function* (shadow, addr) {
          return yield* shadow_clear_young(shadow, addr);
        }),
      ],
    }),
  },
});
