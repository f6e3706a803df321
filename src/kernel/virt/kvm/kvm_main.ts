import { fn } from '../../../machine/fn.ts';
import { holds } from '../../../machine/protection.ts';
import type { Steps } from '../../../machine/op.ts';
import { spin_lock, spin_unlock, write_lock, write_unlock } from '../../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../../machine/ops/memory.ts';
import { gfns_unmapped } from '../../../machine/ops/secondary.ts';
import { srcu_read_lock, srcu_read_unlock } from '../../kernel/srcu.ts';
import { hva_range_to_gfns, hva_range_to_gfns_now, kvm_memslots } from './memslots.ts';
import {
  kvm_mmu_invalidate_begin,
  kvm_mmu_invalidate_end,
  kvm_mmu_invalidate_range_add,
} from './mmu_invalidate.ts';
import { gfn_to_pfn_cache_invalidate_start } from './pfncache.ts';
import type { MmuNotifierOps } from '../../mm/mmu_notifier-types.ts';
import type { Mm } from '../../mm/types.ts';
import type { Kvm } from './types.ts';
import { kvm_flush_remote_tlbs } from './vcpu.ts';

/**
 * How KVM follows the page tables of the process that backs a guest's memory.
 *
 * Guarantee: between the return of kvm_mmu_notifier_invalidate_range_start() and the call of ..._end() no entry
 * of KVM's maps the range and no vCPU can use a cached translation of it; and none that is made later was
 * looked up in the process's tables before the end. So KVM needs no reference on the pages that it maps: who
 * frees one has called start before, and frees it after start has returned.
 *
 * Mechanism: start removes what there is, and announces itself by mmu_invalidate_in_progress; end counts
 * mmu_invalidate_seq up. A fault reads the sequence, then looks the page up without a lock, then takes mmu_lock,
 * and maps the page only if no invalidation of it is going on and none has ended since (fault.ts).
 * Why it suffices: think of the fault's critical section. Before that of start: start removes its entry.
 * Between start and end: the fault sees the count. After end: if the sequence was read before, it has changed;
 * if it was read after, the page was looked up in tables in which it is not any more.
 * What it needs: count and removal are one critical section; the sequence goes up no later than the count goes
 * down; it is read before the tables are looked at; removal and flush are over when start returns; start and end
 * find the same memslots (memslots.ts); and whoever else removes entries flushes before it drops mmu_lock.
 * The last: a notifier that finds an entry gone takes it for flushed, and its page is freed. A notifier that is
 * alone may itself flush later, because the page is not freed before it returns; of two at once the second may not
 * find what the first has removed and not yet flushed (the scenario two-notifiers).
 *
 * Assumes: host addresses in one address space; notifiers that may sleep.
 *
 * Follows linux v6.12 virt/kvm/kvm_main.c (kvm_mmu_notifier_invalidate_range_start, __kvm_handle_hva_range).
 */

/** What is done for the guest frames [start, end); true: translations must be flushed. */
export type GfnHandler = (kvm: Kvm, start: number, end: number) => Steps<boolean>;

/** Guest frames of the memslots that back a range of host addresses, within one hold of mmu_lock. */
interface HvaRange {
  readonly start: number;
  readonly end: number;
  /** Done once, when the first memslot is found, which is when mmu_lock is taken. */
  readonly on_lock?: (kvm: Kvm) => Steps<void>;
  readonly handler?: GfnHandler;
  readonly flush_on_ret?: boolean;
}

interface Handled {
  readonly found_memslot: boolean;
  readonly ret: boolean;
}

/** __kvm_handle_hva_range(). */
export const kvm_handle_hva_range = fn(function* kvm_handle_hva_range(
  kvm: Kvm,
  { start, end, on_lock, handler, flush_on_ret }: HvaRange,
): Steps<Handled> {
  const idx = yield* srcu_read_lock(kvm.srcu);
  const slots = yield* kvm_memslots(kvm);
  const gfns = hva_range_to_gfns(slots, start, end);
  let ret = false;
  if (gfns.length > 0) {
    yield* write_lock(kvm.mmu_lock);
    if (on_lock) yield* on_lock(kvm);
    if (handler) for (const each of gfns) ret = (yield* handler(kvm, each.start, each.end)) || ret;
    if (ret && flush_on_ret) yield* kvm_flush_remote_tlbs(kvm);
    yield* write_unlock(kvm.mmu_lock);
  }
  yield* srcu_read_unlock(kvm.srcu, idx);
  return { found_memslot: gfns.length > 0, ret };
});

/** kvm_mmu_unmap_gfn_range(): announces the frames, then removes their entries. */
export const kvm_mmu_unmap_gfn_range = fn(function* kvm_mmu_unmap_gfn_range(
  kvm: Kvm,
  start: number,
  end: number,
): Steps<boolean> {
  yield* kvm_mmu_invalidate_range_add(kvm, start, end);
  return yield* kvm.mmu.unmap_gfn_range(kvm, start, end);
});

/** mn_active_invalidate_count goes up or down. */
export const change_mn_active = fn(
  function* change_mn_active(kvm: Kvm, change: 1 | -1): Steps<void> {
    yield* spin_lock(kvm.mn_invalidate_lock);
    const count = yield* READ_ONCE(kvm.mn_active_invalidate_count);
    yield* WRITE_ONCE(kvm.mn_active_invalidate_count, count + change);
    yield* spin_unlock(kvm.mn_invalidate_lock); // at 0 a replacement of the memslots is woken
  },
  { hidden: true },
);

/** A check of the guarantee above: the window of an invalidation begins, or ends. */
const hva_range_unmapped = (kvm: Kvm, start: number, end: number, when: string): Steps<void> =>
  gfns_unmapped(kvm.root, () => hva_range_to_gfns_now(kvm, start, end), when);

/** The process's entries for [start, end) are about to go. */
export const kvm_mmu_notifier_invalidate_range_start = fn(
  function* kvm_mmu_notifier_invalidate_range_start(
    kvm: Kvm,
    start: number,
    end: number,
  ): Steps<void> {
    yield* change_mn_active(kvm, 1);
    yield* gfn_to_pfn_cache_invalidate_start(kvm, start, end); // before the count: see pfncache.ts
    yield* kvm_handle_hva_range(kvm, {
      start,
      end,
      on_lock: kvm_mmu_invalidate_begin,
      handler: kvm_mmu_unmap_gfn_range,
      flush_on_ret: true,
    });
    yield* hva_range_unmapped(kvm, start, end, 'invalidate_range_start() returns');
  },
);

/** They are gone, and pages may be freed already. */
export const kvm_mmu_notifier_invalidate_range_end = fn(
  function* kvm_mmu_notifier_invalidate_range_end(
    kvm: Kvm,
    start: number,
    end: number,
  ): Steps<void> {
    yield* hva_range_unmapped(kvm, start, end, 'invalidate_range_end() is called');
    yield* kvm_handle_hva_range(kvm, { start, end, on_lock: kvm_mmu_invalidate_end });
    yield* change_mn_active(kvm, -1);
  },
);

/** kvm_flush_shadow_all(): removes every entry. */
export const kvm_flush_shadow_all = fn(function* kvm_flush_shadow_all(kvm: Kvm): Steps<void> {
  const gfns = kvm.memslot_sets.flat().map(({ base_gfn, npages }) => base_gfn + npages);
  yield* write_lock(kvm.mmu_lock);
  const flush = yield* kvm.mmu.unmap_gfn_range(kvm, 0, Math.max(0, ...gfns));
  if (flush) yield* kvm_flush_remote_tlbs(kvm);
  yield* write_unlock(kvm.mmu_lock);
});

/**
 * The process exits, and its pages are freed when this returns. KVM holds mm_count and not mm_users, so its file
 * descriptor may be open still; that no vCPU faults a page in again is the business of kvm_vcpu_ioctl().
 */
export const kvm_mmu_notifier_release = fn(function* kvm_mmu_notifier_release(
  kvm: Kvm,
): Steps<void> {
  const idx = yield* srcu_read_lock(kvm.srcu);
  yield* kvm_flush_shadow_all(kvm);
  yield* srcu_read_unlock(kvm.srcu, idx);
});

/** kvm_mmu_notifier_ops: what KVM registers with the process (kvm_init_mmu_notifier()). */
export function kvm_mmu_notifier_ops(kvm: Kvm): MmuNotifierOps {
  return Object.freeze({
    release: () => kvm_mmu_notifier_release(kvm),
    *invalidate_range_start(_mn, { start, end }) {
      yield* kvm_mmu_notifier_invalidate_range_start(kvm, start, end);
      return true;
    },
    invalidate_range_end: (_mn, { start, end }) =>
      kvm_mmu_notifier_invalidate_range_end(kvm, start, end),
  } satisfies MmuNotifierOps);
}

/** May a thread that runs in `current_mm` use the virtual machine? Its threads keep the process's mm_users. */
export const kvm_may_run = fn(
  function* kvm_may_run(kvm: Kvm, current_mm: Mm | null): Steps<boolean> {
    return kvm.mm === current_mm && (yield* READ_ONCE(kvm.vm_dead)) === 0;
  },
  { hidden: true, protects: { what: 'the test of current->mm', without: holds } },
);

/** kvm_vcpu_ioctl(KVM_RUN): false is -EIO. */
export const kvm_vcpu_ioctl = fn(function* kvm_vcpu_ioctl(
  kvm: Kvm,
  current_mm: Mm | null,
  run: () => Steps<unknown>,
): Steps<boolean> {
  if (!(yield* kvm_may_run(kvm, current_mm))) return false;
  yield* run();
  return true;
});

/** What every change of the process's entries for [start, end) is, if KVM has registered with the process. */
export const invalidating = fn(
  function* invalidating(
    kvm: Kvm,
    start: number,
    end: number,
    change: () => Steps<unknown>,
  ): Steps<void> {
    yield* kvm_mmu_notifier_invalidate_range_start(kvm, start, end);
    yield* change();
    yield* kvm_mmu_notifier_invalidate_range_end(kvm, start, end);
  },
  { hidden: true },
);
