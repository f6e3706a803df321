// The lock of a page table, allocated by itself: may it be freed before the table is?
// linux v6.12 arch/x86/mm/pgtable.c (___pte_free_tlb), v6.14 mm/pt_reclaim.c, include/asm-generic/tlb.h
// (__tlb_remove_table); specification sections 3.6 and 3.7.
import { fails, nop, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  ___pte_free_tlb,
  call_rcu,
  down_read,
  madvise_dontneed,
  munmap,
  new_mm,
  new_page,
  pagetable_dtor,
  pmd_off,
  pte_offset_map_lock,
  pte_unmap_unlock,
  ptep_get,
  ptlock_free,
  tlb_remove_table,
  try_get_and_clear_pmd,
  up_read,
  type Mm,
  type Pmdp,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;
const TABLE = 0x200000; // what one page table covers

interface State {
  readonly mm: Mm;
  readonly pmdp: Pmdp;
}

/** Who finds a table without a lock, then locks it: /proc/pid/smaps, aging, a fault. */
function* locker({ mm, pmdp }: State) {
  yield* down_read(mm.mmap_lock);
  const locked = yield* pte_offset_map_lock(mm, pmdp, ADDR);
  if (locked) {
    yield* ptep_get(locked.ptep);
    yield* pte_unmap_unlock(locked.ptl);
  }
  yield* up_read(mm.mmap_lock);
}

const RECLAIM = {
  config: { PT_RECLAIM: true },
  run: {
    CPU0: locker,
    CPU1: ({ mm }: State) => madvise_dontneed(mm, 0, TABLE),
  },
};

/** x86 up to 6.13: the destructor runs when the table is queued. */
const EARLY = [
  patch(___pte_free_tlb, function* (tlb, table) {
    yield* ptlock_free(tlb.mm.kernel, table);
    yield* tlb_remove_table(tlb, table);
  }),
  patch(pagetable_dtor, nop),
];

/** The first repair in mainline: the destructor stays where it was, the lock goes through RCU. */
const EARLY_THROUGH_RCU = [
  patch(___pte_free_tlb, function* (tlb, table) {
    yield* call_rcu(ptlock_free, [tlb.mm.kernel, table]);
    yield* tlb_remove_table(tlb, table);
  }),
  patch(pagetable_dtor, nop),
];

export default scenario<State>('ptlock-vs-table-free', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const pages = { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') };
    const mm = new_mm(m, 'mm', pages, { on: ['CPU1'], ALLOC_SPLIT_PTLOCKS: true });
    return { mm, pmdp: pmd_off(m, mm, ADDR) };
  },

  run: {
    CPU0: locker,
    CPU1: ({ mm }) => munmap(mm, ADDR, TABLE - ADDR),
  },

  sometimes: {
    'the table is locked': returned(pte_offset_map_lock, (locked) => locked !== null),
    'the table is gone': returned(pte_offset_map_lock, null),
    'the table is unhooked under its lock': only(
      ['PT_RECLAIM', 'PT_RECLAIM, lock through RCU'],
      returned(try_get_and_clear_pmd, (pmd) => pmd !== null),
    ),
  },

  variants: {
    // munmap() holds mmap_lock for writing: nobody is looking for the table.
    munmap: safe(),
    'munmap, destructor first': safe({ patches: EARLY }),
    PT_RECLAIM: safe(RECLAIM),
    // M3.14: with mmap_lock for reading only, somebody is.
    'PT_RECLAIM, destructor first': fails('use-after-free', {
      shows: ['M3.14'],
      ...RECLAIM,
      patches: EARLY,
    }),
    'PT_RECLAIM, lock through RCU': safe({ ...RECLAIM, patches: EARLY_THROUGH_RCU }),
  },
});
