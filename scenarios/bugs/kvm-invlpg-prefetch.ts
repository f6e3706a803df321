// An entry of the guest is read without the lock under which its shadow is made.  linux
// arch/x86/kvm/mmu/paging_tmpl.h, 2010.
import {
  fails,
  fn,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Page,
  type Steps,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  copy_word,
  fetch_add,
  memcpy_from_page,
  memcpy_to_page,
  new_copy,
  new_mm,
  new_page,
  new_shadow_vm,
  shadow_mmu_ops,
  spin_lock,
  spin_unlock,
  type Kvm,
  type PageCopy,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly guest_pt: Page;
  /** What the shadow entry was made of. */
  readonly shadow: PageCopy;
  readonly invlpg_counter: Word;
}

/** Has no other INVLPG been here since? Under mmu_lock. */
const invlpg_is_last = fn(function* invlpg_is_last(
  { invlpg_counter }: State,
  mine: number,
): Steps<boolean> {
  return (yield* READ_ONCE(invlpg_counter)) === mine;
});

/** FNAME(invlpg): the guest has changed an entry; its shadow is made anew at once (prefetch). */
const kvm_mmu_invlpg = fn(function* kvm_mmu_invlpg(s: State): Steps<void> {
  const { kvm, guest_pt, shadow, invlpg_counter } = s;
  const mine = (yield* fetch_add(invlpg_counter, 1)) + 1;
  const gpte = yield* memcpy_from_page(guest_pt, 0); // may sleep: not under mmu_lock
  yield* spin_lock(kvm.mmu_lock);
  if (yield* invlpg_is_last(s, mine)) yield* copy_word(shadow, gpte);
  yield* spin_unlock(kvm.mmu_lock);
});

/** The guest changes the entry, and then invalidates the address. */
const guest_changes_entry = fn(
  function* guest_changes_entry(s: State): Steps<void> {
    yield* memcpy_to_page(s.guest_pt, 0, 0xbeefn);
    yield* kvm_mmu_invlpg(s);
  },
  { hidden: true },
);

export default scenario<State>('kvm-invlpg-prefetch', {
  title: 'KVM: a shadow entry made of what the guest had before',
  citation:
    'linux commit 08e850c6536d, "KVM: MMU: Reinstate pte prefetch on invlpg", 2010, which tells of the race that had it taken out',
  story:
    "On INVLPG the shadow MMU drops its entry for the address, and reads the guest's to make the next one at once. The " +
    "guest's memory cannot be read under a spinlock, so it was read before. Between reading and making another vCPU could " +
    'change the entry, execute INVLPG for it and have the new one made; then the first made the old one. The guest had ' +
    'done all that the manual asks for and went on with the old page. The prefetch was taken out, and came back with a ' +
    'count of INVLPGs: what was read is used only if there was no other since.',

  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', {}, { tables: [0] });
    const guest_pt = new_page(m, 'guest_pt', 1);
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_ops(), {
      tables: 'shadow',
      vcpus: ['CPU0', 'CPU1'],
      mapped: { 0: { page: guest_pt, writable: false, mmu_writable: false } },
    });
    const shadow = new_copy(m, 'shadow_pt[0]', guest_pt, 0, []);
    return { kvm, guest_pt, shadow, invlpg_counter: m.memory.variable('invlpg_counter') };
  },

  run: { CPU0: kvm_mmu_invlpg, CPU1: guest_changes_entry },

  sometimes: {
    'another INVLPG was there meanwhile': returned(invlpg_is_last, false),
  },

  variants: {
    buggy: fails('lost-dirty', {
      shows: ['bug:kvm-invlpg-prefetch'],
      patches: [
        patch(invlpg_is_last, function* () {
          return true;
        }),
      ],
    }),
    fixed: safe(),
  },
});
