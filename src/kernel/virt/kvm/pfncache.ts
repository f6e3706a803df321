import { fn, leaf } from '../../../machine/fn.ts';
import { holds, no } from '../../../machine/protection.ts';
import type { Page } from '../../../machine/memory.ts';
import type { Steps } from '../../../machine/op.ts';
import {
  mutex_lock,
  mutex_unlock,
  read_lock,
  read_unlock,
  write_lock,
  write_unlock,
} from '../../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, read_entry, write_entry } from '../../../machine/ops/memory.ts';
import { AGAIN, retry } from '../../../machine/ops/retry.ts';
import { smp_rmb } from '../../../machine/ops/store-buffer.ts';
import { srcu_read_lock, srcu_read_unlock } from '../../kernel/srcu.ts';
import { folio_put, memcpy_to_page, pointer_to } from '../../mm/page-ref.ts';
import { hva_to_pfn } from './fault.ts';
import { __gfn_to_memslot, gfn_to_hva_memslot } from './memslots.ts';
import type { Kvm, PfnCache } from './types.ts';

/**
 * A guest page that KVM itself reads and writes (steal time, Xen's shared info): a secondary MMU of one entry.
 *
 * Guarantee: who finds the cache valid under gpc->lock may use the page until it drops the lock, although nobody
 * has a reference on it. Mechanism: invalidation makes the cache invalid under gpc->lock before the page can be
 * freed. A refresh looks the page up without the lock, takes the lock, and believes what it found only if
 * no invalidation is going on and none has ended since.
 * Why mn_active_invalidate_count and not mmu_invalidate_in_progress: the cache is made invalid before the latter
 * goes up, and a refresh between the two would bring the page back.
 * The order matters here, because mmu_lock is not held: first the count, then the sequence. The end of an
 * invalidation changes them the other way round.
 *
 * The cache is of a host address, and the slots say which: it is good for as long as the slots are those in which
 * it was looked up (gpc->generation). Nobody tells it that they have changed.
 *
 * Follows linux v6.12 virt/kvm/pfncache.c (hva_to_pfn_retry, mmu_notifier_retry_cache,
 * gfn_to_pfn_cache_invalidate_start).
 */

/** The cache is of no address. */
export const KVM_HVA_ERR_BAD = -1;
/** The generation of slots that there never are. */
export const NO_GENERATION = -1;

/** Is an invalidation of any range between its start and its end? */
export const mn_active_invalidations = fn(
  function* mn_active_invalidations(kvm: Kvm): Steps<boolean> {
    return (yield* READ_ONCE(kvm.mn_active_invalidate_count)) !== 0;
  },
  { hidden: true, protects: { what: 'the test of mn_active_invalidate_count', without: no } },
);

/** mmu_notifier_retry_cache(): may the page not be kept that was looked up at `mmu_seq`? */
export const mmu_notifier_retry_cache = fn(
  function* mmu_notifier_retry_cache(kvm: Kvm, mmu_seq: number): Steps<boolean> {
    if (yield* mn_active_invalidations(kvm)) return true;
    yield* smp_rmb(); // the count before the sequence
    return (yield* READ_ONCE(kvm.mmu_invalidate_seq)) !== mmu_seq;
  },
  { protects: { what: 'mmu_notifier_retry_cache()', without: no } },
);

const set_khva = leaf(function* set_khva(gpc: PfnCache, page: Page): Steps<void> {
  yield* write_entry(gpc.khva, pointer_to(page));
});

const get_khva = leaf(function* get_khva(gpc: PfnCache): Steps<Page> {
  const { bits, generation } = yield* read_entry(gpc.khva);
  return Object.freeze({ frame: Number(bits), generation });
});

/**
 * hva_to_pfn_retry(): returns with gpc->lock held for writing. The kernel holds it from one round to the next;
 * here it is dropped and taken again, because who waits for an invalidation to end must hold nothing.
 */
export const hva_to_pfn_retry = fn(function* hva_to_pfn_retry(
  gpc: PfnCache,
  uhva: number,
): Steps<boolean> {
  const { kvm } = gpc;
  const page = yield* retry<Page | null>(function* () {
    yield* write_lock(gpc.lock);
    yield* WRITE_ONCE(gpc.valid, 0);
    const mmu_seq = yield* READ_ONCE(kvm.mmu_invalidate_seq);
    yield* smp_rmb(); // the sequence before the process's entries
    yield* write_unlock(gpc.lock);
    const found = yield* hva_to_pfn(kvm, uhva, true);
    yield* write_lock(gpc.lock);
    if (!(yield* mmu_notifier_retry_cache(kvm, mmu_seq))) return found;
    yield* write_unlock(gpc.lock);
    if (found) yield* folio_put(found);
    return AGAIN;
  });
  if (!page) return false;
  yield* WRITE_ONCE(gpc.valid, 1);
  yield* set_khva(gpc, page);
  yield* folio_put(page); // from here on invalidation protects it
  return true;
});

/** Are the slots still those in which the address was looked up? A set's number is its generation. */
export const gpc_generation_is_current = fn(
  function* gpc_generation_is_current({ kvm, generation }: PfnCache): Steps<boolean> {
    return (yield* READ_ONCE(generation)) === (yield* READ_ONCE(kvm.memslots));
  },
  { hidden: true, protects: { what: 'the test of slots->generation', without: holds } },
);

/** kvm_gpc_check(): may the page be used? Under gpc->lock. */
export const kvm_gpc_check = fn(function* kvm_gpc_check(gpc: PfnCache): Steps<boolean> {
  if (!(yield* gpc_generation_is_current(gpc))) return false;
  return (yield* READ_ONCE(gpc.valid)) === 1;
});

/** Where the slots have the guest frame now, or KVM_HVA_ERR_BAD. Under kvm->srcu. */
const look_up_uhva = fn(
  function* look_up_uhva(gpc: PfnCache): Steps<number> {
    const { kvm, gfn } = gpc;
    yield* write_lock(gpc.lock);
    const generation = yield* READ_ONCE(kvm.memslots);
    const slot = __gfn_to_memslot(kvm.memslot_sets[generation] ?? [], gfn);
    const uhva = slot ? yield* gfn_to_hva_memslot(kvm, slot, gfn) : KVM_HVA_ERR_BAD;
    yield* WRITE_ONCE(gpc.valid, 0); // what it leads to belongs to another address
    yield* WRITE_ONCE(gpc.generation, generation);
    yield* WRITE_ONCE(gpc.uhva, uhva);
    yield* write_unlock(gpc.lock);
    return uhva;
  },
  { hidden: true },
);

/** kvm_gpc_refresh(): looks the page up anew; false: there is none. */
export const kvm_gpc_refresh = fn(function* kvm_gpc_refresh(gpc: PfnCache): Steps<boolean> {
  const { kvm } = gpc;
  const idx = yield* srcu_read_lock(kvm.srcu);
  yield* mutex_lock(gpc.refresh_lock);
  const uhva = yield* look_up_uhva(gpc);
  let valid = false;
  if (uhva !== KVM_HVA_ERR_BAD) {
    valid = yield* hva_to_pfn_retry(gpc, uhva);
    yield* write_unlock(gpc.lock);
  }
  yield* mutex_unlock(gpc.refresh_lock);
  yield* srcu_read_unlock(kvm.srcu, idx);
  return valid;
});

/** What users of a cache do: write to the page if the cache is valid. False: it is not. */
export const kvm_gpc_write = fn(function* kvm_gpc_write(
  gpc: PfnCache,
  value: bigint,
): Steps<boolean> {
  yield* read_lock(gpc.lock);
  const valid = yield* kvm_gpc_check(gpc);
  if (valid) {
    const khva = yield* get_khva(gpc);
    yield* memcpy_to_page(khva, 0, value);
  }
  yield* read_unlock(gpc.lock);
  return valid;
});

/** Is it a valid cache of an address in the range? Under gpc->lock. */
const is_cache_of = fn(
  function* is_cache_of(gpc: PfnCache, start: number, end: number): Steps<boolean> {
    if ((yield* READ_ONCE(gpc.valid)) === 0) return false;
    const uhva = yield* READ_ONCE(gpc.uhva);
    return uhva >= start && uhva < end;
  },
  { hidden: true },
);

/** Invalidates the caches of [start, end), which host addresses are. */
export const gfn_to_pfn_cache_invalidate_start = fn(
  function* gfn_to_pfn_cache_invalidate_start(kvm: Kvm, start: number, end: number): Steps<void> {
    for (const gpc of kvm.gpcs) {
      yield* read_lock(gpc.lock);
      const found = yield* is_cache_of(gpc, start, end);
      yield* read_unlock(gpc.lock);
      if (!found) continue;
      yield* write_lock(gpc.lock);
      if (yield* is_cache_of(gpc, start, end)) yield* WRITE_ONCE(gpc.valid, 0);
      yield* write_unlock(gpc.lock);
    }
  },
  { protects: { what: 'gfn_to_pfn_cache_invalidate_start()' } },
);
