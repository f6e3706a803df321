import { fn } from '../../machine/fn.ts';
import type { Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, mutex_lock, mutex_unlock, up_write } from '../../machine/ops/locks.ts';
import { no } from '../../machine/protection.ts';
import { notifiers_of } from './mmu_notifier-boot.ts';
import type { Mm } from './types.ts';

/**
 * Every lock under which an entry of an address space may be changed.
 *
 * Guarantee: while they are held nobody is between the start and the end of an invalidation.
 * Mechanism: mmap_lock for writing, and the lock of every list through which the reverse mapping leads here
 * (i_mmap_rwsem, anon_vma->root->rwsem); each pair of start and end lies under one of them.
 * Why each once: VMAs share these locks, and whoever takes one twice waits for himself (N4). The kernel marks
 * those that it has (a bit of the anon_vma's tree, AS_MM_ALL_LOCKS), under mm_all_locks_mutex, which also
 * makes the order in which they are taken a matter of taste.
 * Not modelled: locks of single VMAs, the order of hugetlb's locks, giving up on a signal.
 *
 * Follows linux v6.12 mm/vma.c (mm_take_all_locks, vm_lock_anon_vma, vm_lock_mapping).
 */

/** The mark: has this lock been taken for another VMA? */
const is_marked = fn(
  function* is_marked(taken: readonly Word[], rwsem: Word): Steps<boolean> {
    return taken.includes(rwsem);
  },
  { hidden: true, protects: { what: 'the mark of locks that are taken', without: no } },
);

/** What mm_drop_all_locks() has to let go. */
export type AllLocks = readonly Word[];

export const mm_take_all_locks = fn(function* mm_take_all_locks(mm: Mm): Steps<AllLocks> {
  yield* mutex_lock(notifiers_of(mm).mm_all_locks_mutex);
  const taken: Word[] = [];
  for (const { rwsem } of mm.vmas) {
    if (yield* is_marked(taken, rwsem)) continue;
    yield* down_write(rwsem); // vm_lock_anon_vma(), vm_lock_mapping()
    taken.push(rwsem);
  }
  return taken;
});

export const mm_drop_all_locks = fn(function* mm_drop_all_locks(
  mm: Mm,
  taken: AllLocks,
): Steps<void> {
  for (const rwsem of taken) yield* up_write(rwsem);
  yield* mutex_unlock(notifiers_of(mm).mm_all_locks_mutex);
});
