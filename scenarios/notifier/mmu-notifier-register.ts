// Registering while a page is being reclaimed: whoever is told of an end must have been told of its start.
// linux v6.12 mm/mmu_notifier.c (__mmu_notifier_register), mm/vma.c (mm_take_all_locks); 2008 thread of the
// mmu-notifier-core patches.
import { entered, fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  mm_take_all_locks,
  mmu_notifier_register,
  new_file,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_page_of_file,
  notifiers_of,
  mutex_lock,
  new_shadow,
  shadow_fault,
  shadow_invalidate_range_start,
  shadow_ops,
  shrink_folio_list,
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

/** Two VMAs of one file: the lock of its list is theirs both. */
function setup(m: Machine): State {
  const file = new_file(m, 'F', { shmem: false });
  const X = new_page_of_file(m, 'X', file);
  const Y = new_page(m, 'Y');
  const mm = new_mm(
    m,
    'mm',
    { [ADDR]: X, [ADDR + 4 * PAGE_SIZE]: Y },
    { rwsem: file.i_mmap_rwsem },
  );
  const shadow = new_shadow(m, mm, 'kvm');
  return { mm, X, shadow, mn: new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(shadow)) };
}

export default scenario<State>('mmu-notifier-register', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup,

  run: {
    *CPU0({ mn, shadow }) {
      yield* mmu_notifier_register(mn);
      yield* shadow_fault(shadow, ADDR);
    },
    CPU1: ({ mm, X }) => shrink_folio_list(mm, X),
  },

  always: {
    'no end without its start': (v) => v.read(v.s.shadow.in_progress) >= 0,
  },

  sometimes: {
    'the page is reclaimed': returned(shrink_folio_list, true),
    'and taken away from the device': entered('CPU1', shadow_invalidate_range_start),
    'the device gets the page': returned(shadow_fault, true),
  },

  variants: {
    'all locks': safe({ shows: ['N2', 'N4'] }),
    'mmap_lock only': fails(['stale-translation', 'property'], {
      shows: ['N2'],
      patches: [
        patch(mm_take_all_locks, function* (mm) {
          yield* mutex_lock(notifiers_of(mm).mm_all_locks_mutex);
          return [];
        }),
      ],
    }),
    // N4: both VMAs lead to one lock, and nobody remembers that it is taken.
    'a lock taken twice': fails('deadlock', {
      shows: ['N4'],
      without: ['the mark of locks that are taken in mm_take_all_locks()'],
    }),
  },
});
