import type { Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import type { SlabObject } from '../../machine/ops/slab.ts';
import type { HlistNode } from '../kernel/rculist.ts';
import type { KmemCache } from './slab.ts';
import type { Mm } from './types.ts';

/**
 * Structures of MMU notifiers, of linux v6.12 mm/mmu_notifier.c and include/linux/mmu_notifier.h. All of them
 * exist when the scenario begins: registering one publishes it.
 */

/** struct mmu_notifier_subscriptions: of one address space, freed with its mm_struct. */
export type Subscriptions = SlabObject<SubscriptionField>;

export type SubscriptionField =
  'first' | 'has_itree' | 'lock' | 'invalidate_seq' | 'active_invalidate_ranges' | 'itree';

/** What an address space has with CONFIG_MMU_NOTIFIER. */
export interface MmNotifiers {
  /** mm->notifier_subscriptions: 0 is NULL, and every hook does nothing. */
  readonly subscriptions: Word;
  readonly subs: Subscriptions;
  readonly cache: KmemCache<SubscriptionField>;
  /** mm->mm_users keeps the address space, mm->mm_count the mm_struct. */
  readonly mm_users: Word;
  readonly mm_count: Word;
  /** The mm_struct, in which both counts lie. */
  readonly mm_struct: { readonly object: SlabObject; readonly cache: KmemCache };
  /** The one SRCU domain of all address spaces, and the mutex of mm_take_all_locks(). */
  readonly srcu: Word;
  readonly mm_all_locks_mutex: Word;
  /** All that there will be, by number: complete when the scenario begins. */
  readonly notifiers: ReadonlyMap<number, MmuNotifier>;
  readonly intervals: ReadonlyMap<number, MmuIntervalNotifier>;
}

/** struct mmu_notifier_range. */
export interface MmuNotifierRange {
  readonly mm: Mm;
  readonly start: number;
  readonly end: number;
  /** May the subscribers sleep? Not in the OOM reaper. */
  readonly blockable: boolean;
}

/** struct mmu_notifier_ops. What a method is not there for, nobody is told. */
export interface MmuNotifierOps {
  /** Everything goes: pages are freed when it has returned. It may be called twice. */
  readonly release?: (mn: MmuNotifier) => Steps<void>;
  /** `false` is -EAGAIN, for ranges that are not blockable. */
  readonly invalidate_range_start?: (mn: MmuNotifier, range: MmuNotifierRange) => Steps<boolean>;
  readonly invalidate_range_end?: (mn: MmuNotifier, range: MmuNotifierRange) => Steps<void>;
  readonly clear_flush_young?: (mn: MmuNotifier, start: number, end: number) => Steps<boolean>;
  readonly clear_young?: (mn: MmuNotifier, start: number, end: number) => Steps<boolean>;
  readonly test_young?: (mn: MmuNotifier, addr: number) => Steps<boolean>;
  /** Of a device that walks the CPU's own tables. Under page-table locks: it must not sleep. */
  readonly arch_invalidate_secondary_tlbs?: (
    mn: MmuNotifier,
    start: number,
    end: number,
  ) => Steps<void>;
  readonly free_notifier?: (mn: MmuNotifier) => Steps<void>;
}

/** struct mmu_notifier. */
export interface MmuNotifier extends HlistNode {
  readonly name: string;
  readonly mm: Mm;
  readonly ops: MmuNotifierOps;
  readonly users: Word;
  /** What is freed when nobody needs it any more. */
  readonly object: SlabObject;
  readonly cache: KmemCache;
}

/** struct mmu_interval_notifier_ops. */
export interface MmuIntervalNotifierOps {
  /** Takes the range away from the device; sets the sequence under the lock that the device's users hold. */
  readonly invalidate: (
    interval_sub: MmuIntervalNotifier,
    range: MmuNotifierRange,
    cur_seq: number,
  ) => Steps<boolean>;
}

/** struct mmu_interval_notifier, of [start, end). Its node in the tree is one of a list here. */
export interface MmuIntervalNotifier extends HlistNode {
  readonly name: string;
  readonly mm: Mm;
  readonly ops: MmuIntervalNotifierOps;
  readonly start: number;
  readonly end: number;
  readonly invalidate_seq: Word;
  /** 1: it is put into the tree, or taken out, when nobody walks it any more. */
  readonly deferred: Word;
  readonly object: SlabObject<'next' | 'pprev' | 'invalidate_seq' | 'deferred'>;
  readonly cache: KmemCache<'next' | 'pprev' | 'invalidate_seq' | 'deferred'>;
}
