// What does a subscription hold: the address space, or the mm_struct?  A VM's file is mapped in the address space, and
// somebody else has it open as well.
// linux v6.12 mm/mmu_notifier.c (mmgrab in __mmu_notifier_register), virt/kvm/kvm_main.c (kvm_destroy_vm).
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
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  exit_mmap,
  fetch_add,
  mmget,
  mmput,
  mmu_notifier_register,
  mmu_notifier_unregister,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_shadow,
  notifiers_of,
  pin_mm,
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
  /** References on the VM's file: two descriptors at first, and a VMA once it is mapped. */
  readonly f_count: Word;
  /** How many have gone. */
  readonly gone: Word;
}

/** Closes the file; the last one destroys the VM. */
function* fput({ mn, f_count }: State): Steps<void> {
  if ((yield* fetch_add(f_count, -1)) === 1) yield* mmu_notifier_unregister(mn);
}

export default scenario<State>('mmu-notifier-mm-users', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const X = new_page(m, 'X');
    const close = (): Steps<void> => fput(state);
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [], close });
    const shadow = new_shadow(m, mm, 'kvm', { mapped: { [ADDR]: X } });
    const mn = new_mmu_notifier(m, mm, 'kvm->mmu_notifier', shadow_ops(shadow));
    const word = (name: string, value: number): Word => m.memory.variable(name, value);
    const state = { mm, X, mn, f_count: word('file->f_count', 2), gone: word('gone', 0) };
    return state;
  },

  run: {
    // Makes the VM, maps its file, and exits.
    *CPU0(s) {
      yield* mmu_notifier_register(s.mn); // kvm_create_vm()
      yield* fetch_add(s.f_count, 1); // mmap() of a vCPU
      yield* mmput(s.mm); // exit_mm()
      yield* fput(s); // exit_files()
      yield* fetch_add(s.gone, 1);
    },
    // Has got the other descriptor, closes it, and needs the memory.
    *CPU1(s) {
      yield* fput(s);
      yield* spin_until([s.mm.kernel.folio(s.X)._refcount], (count) => count === 0);
      yield* fetch_add(s.gone, 1);
    },
  },

  always: {
    'when both have gone, so has the mm_struct': (v) =>
      v.read(v.s.gone) < 2 || v.freed(notifiers_of(v.s.mm).mm_struct.object),
  },

  sometimes: {
    'release() runs': only(['mm_count'], entered('CPU0', shadow_release)),
    'the address space is taken down': only(['mm_count'], returned(exit_mmap, undefined)),
    'the VM outlives the process': only(['mm_count'], entered('CPU1', mmu_notifier_unregister)),
  },

  variants: {
    mm_count: safe({ shows: ['N9'] }),
    // N9: the VMA holds the file, the file the VM, the VM the address space, and that the VMA: unregister() is never called.
    mm_users: fails('deadlock', {
      shows: ['N9'],
      patches: [patch(pin_mm, mmget)],
    }),
    // The process takes the mm_struct with it, and the VM lets go of it once more.
    nothing: fails('use-after-free', { patches: [patch(pin_mm, nop)] }),
  },
});
