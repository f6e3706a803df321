// A page is copied on write, right after userfaultfd made it read-only: may a CPU still store to the old page?
// linux v6.12 mm/memory.c (do_wp_page), include/linux/mm_types.h (mm_tlb_flush_pending); specification
// section 3.2.
import { fails, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  change_pte_range,
  dec_tlb_flush_pending,
  do_wp_page,
  flush_tlb_mm_range,
  inc_tlb_flush_pending,
  keep_stores,
  mm_tlb_flush_pending,
  mwriteprotect_range,
  new_mm,
  new_page,
  user_store,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
}

export default scenario<State>('cow-vs-writeprotect', {
  machine: x86_64({ cpus: 3 }),

  // The user has stored before, so what CPU0 cached is marked dirty. X is shared with a child.
  setup(m: Machine) {
    const X = new_page(m, 'X', 1);
    const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: ['CPU0'], dirty: true });
    keep_stores(m, mm, ADDR);
    return { mm };
  },

  run: {
    CPU0: ({ mm }) => user_store(mm, ADDR, 100n),
    CPU1: ({ mm }) => mwriteprotect_range(mm, ADDR),
    CPU2: ({ mm }) => do_wp_page(mm, ADDR), // another thread's fault
  },

  sometimes: {
    'the store reaches a page': returned(user_store, true),
    'the store faults': returned(user_store, false),
    'the page is copied': returned(do_wp_page, true),
    'the fault meets a pending flush': only(
      ['pending is announced'],
      returned(mm_tlb_flush_pending, true),
    ),
  },

  variants: {
    'pending is announced': safe(),
    // M3.10: the count goes down, and only then the flush is done.
    'counted down before the flush': fails('lost-write', {
      shows: ['M3.10'],
      patches: [
        patch(mwriteprotect_range, function* (mm, addr) {
          yield* inc_tlb_flush_pending(mm);
          yield* change_pte_range(mm, addr);
          yield* dec_tlb_flush_pending(mm);
          yield* flush_tlb_mm_range(mm, addr, addr + PAGE_SIZE, false);
        }),
      ],
    }),
    // M3.10: the count goes up after the entry was changed.
    'counted up after the change': fails('lost-write', {
      shows: ['M3.10'],
      patches: [
        patch(mwriteprotect_range, function* (mm, addr) {
          yield* change_pte_range(mm, addr);
          yield* inc_tlb_flush_pending(mm);
          yield* flush_tlb_mm_range(mm, addr, addr + PAGE_SIZE, false);
          yield* dec_tlb_flush_pending(mm);
        }),
      ],
    }),
    'the fault does not ask': fails('lost-write', {
      patches: [
        patch(mm_tlb_flush_pending, function* () {
          return false;
        }),
      ],
    }),
  },
});
