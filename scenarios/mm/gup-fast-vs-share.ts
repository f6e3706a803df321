// Pins vs sharing: a page that somebody pins must stay its owner's alone (invariant I3).
// linux v6.12 mm/gup.c, include/linux/rmap.h, mm/ksm.c, mm/memory.c; specification section 1.2.
import { fails, nop, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { arm64, x86_64 } from 'gracewalk/arch';
import {
  FOLL_WRITE,
  dup_mmap,
  folio_needs_cow_for_dma,
  gup_entries_unchanged,
  gup_fast,
  gup_must_unshare,
  mm_set_has_pinned_flag,
  new_anon_page,
  new_mm,
  pin_user_pages_fast,
  ptep_get,
  read_seqcount_retry,
  smp_mb__after_atomic,
  take_pte,
  write_protect_page,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x2000;

interface State {
  readonly mm: Mm;
  readonly child: Mm;
}

/** The page is read-only already: KSM restores the very same entry. The child has its tables. */
function address_spaces(writable: boolean) {
  return (m: Machine): State => {
    const mm = new_mm(m, 'mm', { [ADDR]: new_anon_page(m, 'X') }, { writable });
    const child = new_mm(m, 'child', { [NEIGHBOUR]: new_anon_page(m, 'Y') }, { on: [] });
    return { mm, child };
  };
}

const FORK = {
  CPU0: ({ mm }: State) => pin_user_pages_fast(mm, ADDR, FOLL_WRITE),
  CPU1: ({ mm, child }: State) => dup_mmap(child, mm, ADDR),
};

const NO_BARRIER = patch(smp_mb__after_atomic, nop);
const KSM_VARIANTS = ['ksm', 'ksm, ipi', 'ksm, tso', 'ksm, no barrier', 'ksm, no barrier, tso'];

export default scenario<State>('gup-fast-vs-share', {
  machine: arm64({ cpus: 2 }),
  setup: address_spaces(false),

  run: {
    CPU0: ({ mm }) => pin_user_pages_fast(mm, ADDR),
    CPU1: ({ mm }) => write_protect_page(mm, ADDR),
  },

  sometimes: {
    'the page is pinned': returned(gup_fast, (page) => page !== null),
    'the lookup falls back': returned(gup_fast, null),
    'the page is shared': only(KSM_VARIANTS, returned(write_protect_page, true)),
    'the pin is seen, the page is not shared': only(
      KSM_VARIANTS,
      returned(write_protect_page, false),
    ),
    "the page is the child's as well": only(
      ['fork', 'fork, tso'],
      returned(folio_needs_cow_for_dma, false),
    ),
    'the child gets a copy': only(['fork', 'fork, tso'], returned(folio_needs_cow_for_dma, true)),
    'the pin is refused because the page is shared': only(
      KSM_VARIANTS,
      returned(gup_must_unshare, true),
    ),
  },

  variants: {
    ksm: safe(),
    'ksm, ipi': safe({ machine: x86_64({ cpus: 2 }) }),
    'ksm, tso': safe({ machine: x86_64({ cpus: 2 }), model: 'tso' }),
    'ksm, entry left in place': fails('lost-write', {
      patches: [
        patch(take_pte, function* (_mm, _addr, ptep) {
          return yield* ptep_get(ptep);
        }),
      ],
    }),
    'ksm, shared pages pinned': fails('lost-write', {
      patches: [
        patch(gup_must_unshare, function* () {
          return false;
        }),
      ],
    }),
    'ksm, no re-check': fails(['lost-write', 'wrong-page'], {
      patches: [
        patch(gup_entries_unchanged, function* () {
          return true;
        }),
      ],
    }),
    // The barrier matters to processors that let a load overtake an atomic instruction (M1.14): not here.
    'ksm, no barrier': safe({ patches: [NO_BARRIER] }),
    'ksm, no barrier, tso': safe({
      machine: x86_64({ cpus: 2 }),
      model: 'tso',
      patches: [NO_BARRIER],
    }),
    fork: safe({ setup: address_spaces(true), run: FORK }),
    'fork, tso': safe({
      machine: x86_64({ cpus: 2 }),
      model: 'tso',
      setup: address_spaces(true),
      run: FORK,
    }),
    // fork() clears no entry: the second look at it says nothing about the time between.
    'fork, sequence count ignored': fails('lost-write', {
      shows: ['bug:fork-gupfast-cow'],
      setup: address_spaces(true),
      run: FORK,
      patches: [
        patch(read_seqcount_retry, function* () {
          return false;
        }),
      ],
    }),
    'fork, flag not set': fails('lost-write', {
      setup: address_spaces(true),
      run: FORK,
      patches: [patch(mm_set_has_pinned_flag, nop)],
    }),
  },
});
