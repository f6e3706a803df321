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
  hlist_unhashed_lockless,
  is_dead,
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
  type Shadow,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly shadow: Shadow;
  readonly mn: MmuNotifier;
}

/** The last user of the address space goes; the file of the device is still open. */
const EXIT = ({ mm }: State) => exit_mmap(mm);

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

export default scenario<State>('mmu-notifier-release', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const X = new_page(m, 'X');
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
    const shadow = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
    const mn = registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(shadow)));
    return { mm, shadow, mn };
  },

  run: { CPU0: ({ mn }) => mmu_notifier_unregister(mn), CPU1: EXIT },

  sometimes: {
    'unregister() runs release() itself': only(['unregister'], entered('CPU0', shadow_release)),
    'and the end of the address space too': only(['unregister'], entered('CPU1', shadow_release)),
    'the end of the address space was first': only(
      ['unregister'],
      returned(hlist_unhashed_lockless, true),
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
