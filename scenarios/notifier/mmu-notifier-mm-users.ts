// What does a subscription hold: the address space, or the mm_struct?  A VM's file is mapped in the address space.
// linux v6.12 mm/mmu_notifier.c (mmgrab in __mmu_notifier_register), virt/kvm/kvm_main.c (kvm_destroy_vm).
import { entered, fails, only, returned, safe, scenario, type Machine, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  exit_mmap,
  fetch_add,
  mmdrop,
  mmput,
  mmu_notifier_unregister,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_shadow,
  notifiers_of,
  registered,
  shadow_ops,
  shadow_release,
  type Mm,
  type MmuNotifier,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly mn: MmuNotifier;
  /** References on the VM's file: an open descriptor, and a VMA that maps it. */
  readonly f_count: Word;
  readonly exited: Word;
  /** The VM holds mm_users, besides what its subscription holds. */
  readonly pins: boolean;
}

function state(m: Machine, pins: boolean): State {
  const X = new_page(m, 'X');
  const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
  const shadow = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
  const mn = registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(shadow)));
  const word = (name: string, value: number): Word => m.memory.variable(name, value);
  m.memory.store(notifiers_of(mm).mm_users, pins ? 3 : 2);
  return { mm, X, mn, f_count: word('file->f_count', 2), exited: word('exited', 0), pins };
}

/** Closes the file; the last one destroys the VM. */
function* fput({ mm, mn, f_count, pins }: State) {
  if ((yield* fetch_add(f_count, -1)) !== 1) return;
  yield* mmu_notifier_unregister(mn);
  if (pins) yield* mmput(mm);
}

/** exit_mm() of a thread: the last one takes the address space down, and with it the VMA that maps the file. */
function* thread_exits(s: State) {
  const { mm, exited } = s;
  if ((yield* fetch_add(notifiers_of(mm).mm_users, -1)) === 1) {
    yield* exit_mmap(mm);
    yield* fput(s); // remove_vma()
    yield* mmdrop(mm);
  }
  yield* fetch_add(exited, 1);
}

/** do_exit() of the thread that closes the files. */
function* do_exit(s: State) {
  yield* fput(s); // exit_files()
  yield* thread_exits(s);
}

export default scenario<State>('mmu-notifier-mm-users', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },
  setup: (m) => state(m, false),

  run: { CPU0: do_exit, CPU1: thread_exits },

  always: {
    'when the process is gone, so is its memory': (v) => v.read(v.s.exited) < 2 || v.freed(v.s.X),
  },

  sometimes: {
    'release() runs': only(['mm_count'], entered('CPU0', shadow_release)),
    'the address space is taken down': only(['mm_count'], returned(exit_mmap, undefined)),
  },

  variants: {
    mm_count: safe({ shows: ['N9'] }),
    // N9: the VMA holds the file, the file the VM, the VM the address space, and that the VMA.
    mm_users: fails('property', { shows: ['N9'], setup: (m) => state(m, true) }),
  },
});
