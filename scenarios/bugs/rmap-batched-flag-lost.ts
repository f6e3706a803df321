// A flag that is taken down for a flush that did not see what it was put up for.  linux mm/rmap.c, 2022.
import { entered, fails, fn, patch, returned, safe, scenario, type Steps } from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  WRITE_ONCE,
  arch_flush_tlb_batched_pending,
  flush_tlb_batched_pending,
  madvise_dontneed,
  new_mm,
  new_page,
  set_tlb_ubc_flush_pending,
  try_cmpxchg,
  try_to_unmap,
  try_to_unmap_flush,
  user_load,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
/** In another page table, which has a lock of its own. */
const FAR = 0x200000;

interface State {
  readonly mm: Mm;
  readonly X: Page;
  readonly Y: Page;
}

/** Reclaim: two pages, one flush. */
const shrink_folio_list = fn(function* shrink_folio_list({ mm, X, Y }: State): Steps<void> {
  const deferred = [...(yield* try_to_unmap(mm, X)), ...(yield* try_to_unmap(mm, Y))];
  yield* try_to_unmap_flush(deferred);
});

/** A thread of the process: when madvise() has returned, the old contents are gone. */
const forget_and_look = fn(function* forget_and_look({ mm }: State): Steps<void> {
  yield* madvise_dontneed(mm, ADDR, FAR);
  yield* user_load(mm, FAR);
});

export default scenario<State>('rmap-batched-flag-lost', {
  title: 'reclaim: mm->tlb_flush_batched is taken down after one flush too early',
  citation:
    'linux commit 5ee2fa2f0636 (the id is from memory), "mm/rmap: fix potential batched TLB flush race", 2022',
  story:
    'That reclaim has put off a flush was a flag of the address space. Whoever found it set flushed, and took it down. ' +
    'The flag is for all page tables, but each has its own lock: reclaim could clear an entry of another table after the ' +
    'flush and set the flag, which was set already, and then it was taken down. Nobody knew of that entry any more; ' +
    'madvise() found it empty and returned, with its translation still in use. The cure counts what was put off and ' +
    'how much of it was flushed, and does not touch the counts if they have moved.',

  machine: arm64({ cpus: 2 }),

  setup(m) {
    const [X, Y] = [new_page(m, 'X', 1), new_page(m, 'Y', 1)]; // reclaim has isolated them
    return { X, Y, mm: new_mm(m, 'mm', { [ADDR]: X, [FAR]: Y }) };
  },

  run: {
    CPU0: (state) => shrink_folio_list(state),
    CPU1: (state) => forget_and_look(state),
  },

  sometimes: {
    'a flush is made up for': entered('CPU1', arch_flush_tlb_batched_pending),
    'more was put off during the flush': returned(try_cmpxchg, false),
  },

  variants: {
    buggy: fails('stale-translation', {
      shows: ['bug:rmap-batched-flag-lost'],
      patches: [
        patch(set_tlb_ubc_flush_pending, function* (mm) {
          yield* WRITE_ONCE(mm.tlb_flush_batched, 1);
        }),
        patch(flush_tlb_batched_pending, function* (mm) {
          if ((yield* READ_ONCE(mm.tlb_flush_batched)) === 0) return;
          yield* arch_flush_tlb_batched_pending(mm);
          yield* WRITE_ONCE(mm.tlb_flush_batched, 0);
        }),
      ],
    }),
    fixed: safe(),
  },
});
