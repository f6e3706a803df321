import { fn, leaf } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { down_write, spin_lock, spin_unlock, up_write } from '../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, add_word, read_word } from '../../machine/ops/memory.ts';
import { kmalloc_GFP_KERNEL } from '../../machine/ops/non-block.ts';
import type { SlabObject } from '../../machine/ops/slab.ts';
import {
  hlist_add_head_rcu,
  hlist_del_init_rcu,
  hlist_first,
  hlist_next,
  hlist_unhashed_lockless,
  type HlistHead,
  type HlistNode,
} from '../kernel/rculist.ts';
import { srcu_read_lock, srcu_read_unlock, synchronize_srcu } from '../kernel/srcu.ts';
import { PAGE_SIZE } from './layout.ts';
import { folio_put } from './page-ref.ts';
import { pte_offset_map_lock, pte_unmap_unlock, ptep_clear_flush } from './pgtable-generic.ts';
import { pte_page, ptep_get } from './pgtable.ts';
import { folio_remove_rmap_pte, mm_find_pmd } from './rmap.ts';
import { kmem_cache_create, new_object, type KmemCache } from './slab.ts';
import type { Mm, Pte, Ptep, Vma } from './types.ts';

/**
 * MMU notifiers as they were proposed in April and May 2008 (mmu-notifier-core v14 and v15).
 *
 * Guarantee and mechanism: those of mmu_notifier.ts, with these differences. The list, its lock and an SRCU
 * domain of its own belong to each address space, which has none (NULL) until somebody registers. The locks of
 * the reverse mapping are spinlocks; mm_lock() collects and sorts them, so that each is taken once and all in
 * one order. A single page may be taken away by invalidate_page(), after its entry has been cleared and flushed
 * and under the page-table lock: the page is not freed before it returns.
 * Assumes of registering: nothing is allocated while those spinlocks are held. v14 did (N1); v15 allocates first.
 *
 * Follows the patches of the thread "mmu notifier-core v14->v15 diff for review" (linux-mm, 26 April to 1 May
 * 2008), mm/mmu_notifier.c and mm/mmap.c.
 */
export interface MmuNotifierMm {
  readonly mm: Mm;
  /** mm->mmu_notifier_mm: 0 is NULL, and every hook does nothing. */
  readonly mmu_notifier_mm: Word;
  readonly object: SlabObject<'first' | 'lock' | 'srcu'>;
  readonly mm_count: Word;
  readonly notifiers: ReadonlyMap<number, MmuNotifier2008>;
}

/** struct mmu_notifier_ops. */
export interface MmuNotifierOps2008 {
  readonly release?: () => Steps<void>;
  readonly invalidate_page: (addr: number) => Steps<void>;
  readonly invalidate_range_start: (start: number, end: number) => Steps<void>;
  readonly invalidate_range_end: (start: number, end: number) => Steps<void>;
}

export interface MmuNotifier2008 extends HlistNode {
  readonly name: string;
  readonly ops: MmuNotifierOps2008;
  readonly object: SlabObject;
  readonly cache: KmemCache;
}

/** What the address space has for notifiers: nothing. Before the first step. */
export function new_mmu_notifier_mm(machine: Machine, mm: Mm): MmuNotifierMm {
  const cache = kmem_cache_create('mmu_notifier_mm', ['first', 'lock', 'srcu']);
  const published = { 0: 'NULL', 1: 'mmu_notifier_mm' };
  return Object.freeze({
    mm,
    mmu_notifier_mm: machine.memory.variable(`${mm.name}->mmu_notifier_mm`, 0, published),
    object: new_object(machine, cache, `mmu_notifier_mm(${mm.name})`, {}),
    mm_count: machine.memory.variable(`${mm.name}->mm_count`, 1),
    notifiers: new Map<number, MmuNotifier2008>(),
  });
}

/** A notifier that is not registered yet, or (`isRegistered`) is. Before the first step. */
export function new_notifier_2008(
  machine: Machine,
  n: MmuNotifierMm,
  name: string,
  ops: MmuNotifierOps2008,
  isRegistered: boolean = false,
): MmuNotifier2008 {
  const cache = kmem_cache_create('mmu_notifier', ['next', 'pprev']);
  const object = new_object(machine, cache, name, {});
  const { next, pprev } = object;
  const mn = Object.freeze({ name, ops, next, pprev, object, cache });
  const number = n.notifiers.size + 1;
  (n.notifiers as Map<number, MmuNotifier2008>).set(number, mn);
  if (!isRegistered) return mn;
  const { memory } = machine;
  memory.store(next, memory.load(n.object.first));
  memory.store(pprev, 1);
  memory.store(n.object.first, number);
  memory.store(n.mmu_notifier_mm, 1);
  return mn;
}

function listOf({ object, notifiers }: MmuNotifierMm): HlistHead<MmuNotifier2008> {
  return { first: object.first, nodes: [...notifiers.values()] };
}

/** mm_has_notifiers(). */
const mm_has_notifiers_2008 = leaf(function* mm_has_notifiers(n: MmuNotifierMm): Steps<boolean> {
  return (yield* read_word(n.mmu_notifier_mm)) !== 0;
});

const for_each_notifier = fn(
  function* for_each_notifier(
    n: MmuNotifierMm,
    visit: (ops: MmuNotifierOps2008) => Steps<void>,
  ): Steps<void> {
    if (!(yield* mm_has_notifiers_2008(n))) return;
    const list = listOf(n);
    const srcu = yield* srcu_read_lock(n.object.srcu);
    for (let mn = yield* hlist_first(list); mn; mn = yield* hlist_next(list, mn)) {
      yield* visit(mn.ops);
    }
    yield* srcu_read_unlock(n.object.srcu, srcu);
  },
  { hidden: true, onBehalf: true },
);

export const mmu_notifier_invalidate_page = fn(function* mmu_notifier_invalidate_page(
  n: MmuNotifierMm,
  addr: number,
): Steps<void> {
  yield* for_each_notifier(n, (ops) => ops.invalidate_page(addr));
});

const range_start = fn(function* mmu_notifier_invalidate_range_start(
  n: MmuNotifierMm,
  start: number,
  end: number,
): Steps<void> {
  yield* for_each_notifier(n, (ops) => ops.invalidate_range_start(start, end));
});

const range_end = fn(function* mmu_notifier_invalidate_range_end(
  n: MmuNotifierMm,
  start: number,
  end: number,
): Steps<void> {
  yield* for_each_notifier(n, (ops) => ops.invalidate_range_end(start, end));
});

/** The locks of the reverse mapping, each once, in the order of their addresses. */
export function sorted_locks(mm: Mm): Word[] {
  const all = [...new Set(mm.vmas.map(({ rwsem }) => rwsem))];
  return all.sort((a, b) => a.address - b.address);
}

/** mm_lock(): mmap_sem, and all spinlocks under which entries of the address space may be changed. */
export const mm_lock = fn(function* mm_lock(mm: Mm): Steps<readonly Word[]> {
  yield* down_write(mm.mmap_lock);
  const locks = sorted_locks(mm);
  for (const lock of locks) yield* spin_lock(lock);
  return locks;
});

export const mm_unlock = fn(function* mm_unlock(mm: Mm, locks: readonly Word[]): Steps<void> {
  for (const lock of locks) yield* spin_unlock(lock);
  yield* up_write(mm.mmap_lock);
});

/** kmalloc(GFP_KERNEL) of the structure, and init_srcu_struct(), which allocates as well. */
export const allocate_mmu_notifier_mm = fn(function* allocate_mmu_notifier_mm(
  _mm: Mm,
): Steps<void> {
  yield* kmalloc_GFP_KERNEL();
});

const publish = fn(
  function* publish(n: MmuNotifierMm, mn: MmuNotifier2008): Steps<void> {
    if ((yield* READ_ONCE(n.mmu_notifier_mm)) === 0) yield* WRITE_ONCE(n.mmu_notifier_mm, 1);
    yield* add_word(n.mm_count, 1);
    yield* spin_lock(n.object.lock);
    yield* hlist_add_head_rcu(mn, listOf(n));
    yield* spin_unlock(n.object.lock);
  },
  { hidden: true },
);

/** v15. */
export const mmu_notifier_register_2008 = fn(function* mmu_notifier_register(
  n: MmuNotifierMm,
  mn: MmuNotifier2008,
): Steps<void> {
  yield* allocate_mmu_notifier_mm(n.mm); // discarded if somebody else was faster
  const locks = yield* mm_lock(n.mm);
  yield* publish(n, mn);
  yield* mm_unlock(n.mm, locks);
});

/** v14: it allocates where it is needed. */
export const mmu_notifier_register_v14 = fn(function* mmu_notifier_register(
  n: MmuNotifierMm,
  mn: MmuNotifier2008,
): Steps<void> {
  const locks = yield* mm_lock(n.mm);
  yield* allocate_mmu_notifier_mm(n.mm);
  yield* publish(n, mn);
  yield* mm_unlock(n.mm, locks);
});

/**
 * As in v2.6.27, with SRCU: off the list first, then release(). In between the subscriber is told of nothing, and
 * what it maps may be freed; it was turned round in 2012.
 */
export const mmu_notifier_unregister_2008 = fn(function* mmu_notifier_unregister(
  n: MmuNotifierMm,
  mn: MmuNotifier2008,
): Steps<void> {
  const { lock, srcu } = n.object;
  yield* spin_lock(lock);
  const hashed = !(yield* hlist_unhashed_lockless(mn));
  if (hashed) yield* hlist_del_init_rcu(mn, listOf(n));
  const id = hashed ? yield* srcu_read_lock(srcu) : 0;
  yield* spin_unlock(lock);
  if (hashed) {
    if (mn.ops.release) yield* mn.ops.release();
    yield* srcu_read_unlock(srcu, id);
  }
  yield* synchronize_srcu(srcu);
  yield* add_word(n.mm_count, -1);
});

/** Clears an entry, flushes it, and tells secondary MMUs, who have to be told before the page is freed. */
export const ptep_clear_flush_notify = fn(function* ptep_clear_flush_notify(
  n: MmuNotifierMm,
  addr: number,
  ptep: Ptep,
): Steps<Pte> {
  const pte = yield* ptep_clear_flush(n.mm, addr, ptep);
  yield* mmu_notifier_invalidate_page(n, addr);
  return pte;
});

/** try_to_unmap_one(), and who gives the page back. */
export const unmap_page_2008 = fn(function* try_to_unmap_one(
  n: MmuNotifierMm,
  addr: number,
): Steps<void> {
  const pmdp = yield* mm_find_pmd(n.mm, addr);
  const locked = pmdp && (yield* pte_offset_map_lock(n.mm, pmdp, addr));
  if (!locked) return;
  const { present } = yield* ptep_get(locked.ptep);
  const pte = present ? yield* ptep_clear_flush_notify(n, addr, locked.ptep) : null;
  if (pte) yield* folio_remove_rmap_pte(n.mm, pte_page(pte));
  yield* pte_unmap_unlock(locked.ptl);
  if (pte) yield* folio_put(pte_page(pte));
});

/** unmap_mapping_range() of a file's VMA: under the lock of the list that led to it, and not under mmap_sem. */
export const unmap_mapping_range_2008 = fn(function* unmap_mapping_range(
  n: MmuNotifierMm,
  { start, rwsem }: Vma,
): Steps<void> {
  const { mm } = n;
  yield* spin_lock(rwsem); // i_mmap_lock
  yield* range_start(n, start, start + PAGE_SIZE);
  const pmdp = yield* mm_find_pmd(mm, start);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, start));
  if (locked) {
    const { present } = yield* ptep_get(locked.ptep);
    const pte = present ? yield* ptep_clear_flush(mm, start, locked.ptep) : null;
    if (pte) yield* folio_remove_rmap_pte(mm, pte_page(pte));
    yield* pte_unmap_unlock(locked.ptl);
    if (pte) yield* folio_put(pte_page(pte));
  }
  yield* range_end(n, start, start + PAGE_SIZE);
  yield* spin_unlock(rwsem);
});
