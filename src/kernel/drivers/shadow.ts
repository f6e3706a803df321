import { counts_open } from '../../machine/balance.ts';
import { fn, leaf } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Page, Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { spin_lock, spin_unlock } from '../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, add_word } from '../../machine/ops/memory.ts';
import type { SlabObject } from '../../machine/ops/slab.ts';
import { AGAIN, retry } from '../../machine/ops/retry.ts';
import { smp_rmb, smp_wmb } from '../../machine/ops/store-buffer.ts';
import { no } from '../../machine/protection.ts';
import { FOLL_WRITE } from '../mm/gup-folio.ts';
import { get_user_pages_unlocked } from '../mm/gup-slow.ts';
import { PAGE_SIZE } from '../mm/layout.ts';
import type { MmuNotifierOps2008 } from '../mm/mmu_notifier-2008.ts';
import type { MmuNotifier, MmuNotifierOps, MmuNotifierRange } from '../mm/mmu_notifier-types.ts';
import { folio_put } from '../mm/page-ref.ts';
import { folio_mark_dirty } from '../mm/page-writeback.ts';
import { kmem_cache_create, new_object, type KmemCache } from '../mm/slab.ts';
import type { Mm } from '../mm/types.ts';
import {
  clear_spte,
  flush_secondary_tlb,
  get_spte,
  new_secondary_mmu,
  set_spte,
  test_and_clear_spte_young,
  type SecondaryMmu,
  type SecondaryOptions,
} from './secondary-mmu.ts';

/**
 * A subscriber with tables of its own, as KVM has them, at its smallest.
 *
 * Guarantee: it maps a page only while the primary MMU does, and holds no reference on it.
 * Mechanism: a count of invalidations that are going on and a sequence of those that are over, both changed
 * under mmu_lock. A fault remembers the sequence, asks the primary MMU for the page, takes mmu_lock, and maps
 * only if nothing is being invalidated and nothing was since. release() zaps everything and says, under the same
 * lock, that nothing may be mapped any more.
 * Why both: with the count alone an invalidation that begins and ends between the question and the lock is
 * missed; with the sequence alone one that has begun and not ended.
 *
 * Follows linux v6.12 virt/kvm/kvm_main.c, without slots and requests; KVM as it is, is in virt/kvm/.
 */
export interface Shadow extends SecondaryMmu {
  readonly mmu_lock: Word;
  readonly invalidate_seq: Word;
  readonly in_progress: Word;
  /** 1 from release() on. */
  readonly dead: Word;
  /** All of these: what its file holds. */
  readonly object: SlabObject;
  readonly cache: KmemCache;
}

const FIELDS = ['mmu_lock', 'mmu_invalidate_seq', 'mmu_invalidate_in_progress', 'dead'] as const;

export function new_shadow(
  machine: Machine,
  mm: Mm,
  name: string,
  options: SecondaryOptions = {},
): Shadow {
  const cache = kmem_cache_create(name, FIELDS);
  const object = new_object(machine, cache, name, {});
  return Object.freeze({
    ...new_secondary_mmu(machine, mm, name, options),
    mmu_lock: object.mmu_lock,
    invalidate_seq: object.mmu_invalidate_seq,
    in_progress: counts_open(machine, object.mmu_invalidate_in_progress, object.dead),
    dead: object.dead,
    object,
    cache,
  });
}

/**
 * Takes a range away. The flush belongs under the same lock: another notifier that finds the entries gone takes
 * them for flushed, and its pages are freed (two-notifiers shows it).
 */
export const shadow_zap_range = fn(
  function* shadow_zap_range(shadow: Shadow, start: number, end: number): Steps<boolean> {
    let zapped = false;
    for (const addr of shadow.mm.mapped) {
      if (addr < start || addr >= end) continue;
      if (yield* clear_spte(shadow, addr)) zapped = true;
    }
    return zapped;
  },
  { hidden: true },
);

export const shadow_invalidate_range_start = fn(function* shadow_invalidate_range_start(
  shadow: Shadow,
  { start, end }: MmuNotifierRange,
): Steps<boolean> {
  yield* spin_lock(shadow.mmu_lock);
  yield* WRITE_ONCE(shadow.in_progress, (yield* READ_ONCE(shadow.in_progress)) + 1);
  if (yield* shadow_zap_range(shadow, start, end)) yield* flush_secondary_tlb(shadow);
  yield* spin_unlock(shadow.mmu_lock);
  return true;
});

export const shadow_invalidate_range_end = fn(function* shadow_invalidate_range_end(
  shadow: Shadow,
): Steps<void> {
  yield* spin_lock(shadow.mmu_lock);
  yield* WRITE_ONCE(shadow.invalidate_seq, (yield* READ_ONCE(shadow.invalidate_seq)) + 1);
  yield* smp_wmb(); // the sequence before the count: a fault that looks at both without the lock
  yield* WRITE_ONCE(shadow.in_progress, (yield* READ_ONCE(shadow.in_progress)) - 1);
  yield* spin_unlock(shadow.mmu_lock);
});

/** Zaps everything, and lets nothing come back. */
export const shadow_release = fn(function* shadow_release(shadow: Shadow): Steps<void> {
  yield* spin_lock(shadow.mmu_lock);
  yield* WRITE_ONCE(shadow.dead, 1);
  const zapped = yield* shadow_zap_range(shadow, 0, Number.MAX_SAFE_INTEGER);
  if (zapped) yield* flush_secondary_tlb(shadow);
  yield* spin_unlock(shadow.mmu_lock);
});

/** Was a page of the range used? Under the primary MMU's page-table lock. */
export const shadow_clear_flush_young = fn(function* shadow_clear_flush_young(
  shadow: Shadow,
  start: number,
): Steps<boolean> {
  yield* spin_lock(shadow.mmu_lock);
  const spte = yield* get_spte(shadow, start);
  const young = spte.accessed === true && (yield* test_and_clear_spte_young(shadow, start, spte));
  yield* spin_unlock(shadow.mmu_lock);
  if (young) yield* flush_secondary_tlb(shadow);
  return young;
});

export function shadow_ops(shadow: Shadow): MmuNotifierOps {
  return Object.freeze({
    release: (_mn: MmuNotifier) => shadow_release(shadow),
    invalidate_range_start: (_mn: MmuNotifier, range: MmuNotifierRange) =>
      shadow_invalidate_range_start(shadow, range),
    invalidate_range_end: () => shadow_invalidate_range_end(shadow),
    clear_flush_young: (_mn: MmuNotifier, start: number) => shadow_clear_flush_young(shadow, start),
  });
}

/** mmu_invalidate_retry(): under mmu_lock. */
export const mmu_invalidate_retry = fn(
  function* mmu_invalidate_retry(shadow: Shadow, seq: number): Steps<boolean> {
    if ((yield* READ_ONCE(shadow.in_progress)) !== 0) return true;
    yield* smp_rmb();
    return (yield* READ_ONCE(shadow.invalidate_seq)) !== seq;
  },
  { hidden: true, protects: { what: 'mmu_invalidate_retry()', without: no } },
);

/** Has release() run? Under mmu_lock. */
export const is_dead = fn(
  function* is_dead(shadow: Shadow): Steps<boolean> {
    return (yield* READ_ONCE(shadow.dead)) === 1;
  },
  { hidden: true, protects: { what: 'the look at what release() has said', without: no } },
);

/** Maps the page, unless it may be wrong by now. */
const map_page = fn(
  function* map_page(
    shadow: Shadow,
    addr: number,
    page: Page,
    seq: number,
    flags: number,
  ): Steps<boolean | typeof AGAIN> {
    yield* spin_lock(shadow.mmu_lock);
    const dead = yield* is_dead(shadow);
    const stale = !dead && (yield* mmu_invalidate_retry(shadow, seq));
    if (!dead && !stale) yield* set_spte(shadow, addr, page);
    if (!dead && !stale && (flags & FOLL_WRITE) !== 0) yield* folio_mark_dirty(shadow.mm, page);
    yield* spin_unlock(shadow.mmu_lock);
    yield* folio_put(page); // its entry needs no reference: the notifier is told in time
    return stale ? AGAIN : !dead;
  },
  { hidden: true, onBehalf: true },
);

/**
 * The device needs the page at `addr`; with FOLL_WRITE to write to it, and then the page is dirty. `false`: there is
 * none, or the device may have none.
 */
export const shadow_fault = fn(function* shadow_fault(
  shadow: Shadow,
  addr: number,
  flags: number = 0,
): Steps<boolean> {
  return yield* retry(function* () {
    const seq = yield* READ_ONCE(shadow.invalidate_seq);
    yield* smp_rmb();
    const page = yield* get_user_pages_unlocked(shadow.mm, addr, flags);
    return page ? yield* map_page(shadow, addr, page, seq, flags) : false;
  });
});

const atomic_inc = leaf(function* atomic_inc(word: Word): Steps<void> {
  yield* add_word(word, 1);
});

const atomic_dec = leaf(function* atomic_dec(word: Word): Steps<void> {
  yield* add_word(word, -1);
});

/** Zaps under mmu_lock, and flushes after it: only in a method may it be so late, because the page waits. */
const zap_and_flush = fn(
  function* zap_and_flush(shadow: Shadow, start: number, end: number): Steps<void> {
    yield* spin_lock(shadow.mmu_lock);
    const zapped = yield* shadow_zap_range(shadow, start, end);
    yield* spin_unlock(shadow.mmu_lock);
    if (zapped) yield* flush_secondary_tlb(shadow);
  },
  { hidden: true },
);

/** The methods of KVM in 2008: count and sequence are atomics, and the end takes no lock. */
export function shadow_ops_2008(shadow: Shadow): MmuNotifierOps2008 {
  return Object.freeze({
    release: () => shadow_release(shadow),
    *invalidate_page(addr: number) {
      yield* atomic_inc(shadow.invalidate_seq); // before mmu_lock is dropped: a fault must not map in between
      yield* zap_and_flush(shadow, addr, addr + PAGE_SIZE);
    },
    *invalidate_range_start(start: number, end: number) {
      yield* atomic_inc(shadow.in_progress);
      yield* zap_and_flush(shadow, start, end);
    },
    *invalidate_range_end() {
      yield* atomic_inc(shadow.invalidate_seq);
      yield* smp_wmb();
      yield* atomic_dec(shadow.in_progress);
    },
  } satisfies MmuNotifierOps2008);
}
