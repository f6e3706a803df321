import { fn, leaf } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { add_word } from '../../machine/ops/memory.ts';
import { notifiers_of } from '../mm/mmu_notifier-boot.ts';
import { kmem_cache_free } from '../mm/slab.ts';
import type { Mm } from '../mm/types.ts';

/**
 * The two counts of an address space.
 *
 * Guarantee: mm_users keeps the address space (its tables and pages), mm_count the mm_struct; all users
 * together hold one mm_count. So who holds mm_count may look at the structure, and finds that exit_mmap() has
 * run, or will.
 *
 * Follows linux v6.12 kernel/fork.c and include/linux/sched/mm.h. mmput() is in mm/exit_mmap.ts.
 */

/** mmgrab(): keeps the mm_struct. */
export const mmgrab = leaf(function* mmgrab(mm: Mm): Steps<void> {
  yield* add_word(notifiers_of(mm).mm_count, 1);
});

const mm_count_dec_and_test = leaf(function* mm_count_dec_and_test(mm: Mm): Steps<boolean> {
  return (yield* add_word(notifiers_of(mm).mm_count, -1)) === 1;
});

/** mmdrop(): the last one frees the mm_struct, and the subscriptions with it. */
export const mmdrop = fn(function* mmdrop(mm: Mm): Steps<void> {
  const { cache, subs, mm_struct } = notifiers_of(mm);
  if (!(yield* mm_count_dec_and_test(mm))) return;
  yield* kmem_cache_free(cache, subs);
  yield* kmem_cache_free(mm_struct.cache, mm_struct.object);
});
