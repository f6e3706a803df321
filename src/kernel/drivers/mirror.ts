import { fn } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Page, Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import {
  down_read,
  mutex_lock,
  mutex_trylock,
  mutex_unlock,
  up_read,
} from '../../machine/ops/locks.ts';
import { AGAIN, retry } from '../../machine/ops/retry.ts';
import {
  mmu_interval_read_begin,
  mmu_interval_read_retry,
  mmu_interval_set_seq,
} from '../mm/mmu_interval_notifier.ts';
import { new_interval_notifier } from '../mm/mmu_notifier-boot.ts';
import type { MmuIntervalNotifier, MmuNotifierRange } from '../mm/mmu_notifier-types.ts';
import { __pte_offset_map, pte_page, pte_unmap, ptep_get_lockless } from '../mm/pgtable.ts';
import { mm_find_pmd } from '../mm/rmap.ts';
import type { Mm } from '../mm/types.ts';
import {
  clear_spte,
  flush_secondary_tlb,
  new_secondary_mmu,
  set_spte,
  type SecondaryMmu,
  type SecondaryOptions,
} from './secondary-mmu.ts';

/**
 * A subscriber that mirrors a part of an address space, as GPU drivers do with HMM.
 *
 * Guarantee: the device maps what the process maps, or nothing. Mechanism: mmu_interval_notifier.ts, with the
 * driver's lock around every change of the device's table, and hmm_range_fault(), which takes no reference:
 * what it has read is true only if nothing was invalidated since.
 *
 * Where nobody may sleep, the lock is taken if it is free, and the invalidation refused otherwise.
 *
 * Follows linux v6.12 mm/hmm.c, Documentation/mm/hmm.rst and drivers/gpu/drm/nouveau/nouveau_svm.c
 * (nouveau_svm_range_invalidate).
 */
export interface Mirror extends SecondaryMmu {
  readonly user_lock: Word;
  readonly sub: MmuIntervalNotifier;
}

/** A mirror of [start, start + length), which is not inserted yet. */
export function new_mirror(
  machine: Machine,
  mm: Mm,
  name: string,
  {
    start,
    length,
    ...options
  }: SecondaryOptions & { readonly start: number; readonly length: number },
): Mirror {
  const device = {
    ...new_secondary_mmu(machine, mm, name, options),
    user_lock: machine.memory.variable(`${name}->user_lock`),
  };
  const sub = new_interval_notifier(
    machine,
    mm,
    `${name}-sub`,
    { start, length },
    {
      invalidate: (interval_sub, range, cur_seq) =>
        mirror_invalidate({ ...device, sub: interval_sub }, range, cur_seq),
    },
  );
  return Object.freeze({ ...device, sub });
}

/** Takes what both have in common from the device. */
export const mirror_zap = fn(
  function* mirror_zap(mirror: Mirror, { start, end }: MmuNotifierRange): Steps<void> {
    let zapped = false;
    for (const addr of mirror.mm.mapped) {
      if (addr < start || addr >= end || addr < mirror.sub.start || addr >= mirror.sub.end)
        continue;
      if (yield* clear_spte(mirror, addr)) zapped = true;
    }
    if (zapped) yield* flush_secondary_tlb(mirror);
  },
  { hidden: true },
);

/** mmu_interval_notifier_ops.invalidate. */
export const mirror_invalidate = fn(function* mirror_invalidate(
  mirror: Mirror,
  range: MmuNotifierRange,
  cur_seq: number,
): Steps<boolean> {
  if (range.blockable) yield* mutex_lock(mirror.user_lock);
  else if (!(yield* mutex_trylock(mirror.user_lock))) return false; // its holder may wait for memory
  yield* mmu_interval_set_seq(mirror.sub, cur_seq);
  yield* mirror_zap(mirror, range);
  yield* mutex_unlock(mirror.user_lock);
  return true;
});

/** hmm_range_fault() of one page, without a reference; null: nothing is mapped. mmap_lock is held. */
export const hmm_range_fault = fn(function* hmm_range_fault(
  mm: Mm,
  addr: number,
): Steps<Page | null> {
  const pmdp = yield* mm_find_pmd(mm, addr);
  const mapped = pmdp && (yield* __pte_offset_map(mm, pmdp, addr));
  if (!mapped) return null;
  const pte = yield* ptep_get_lockless(mapped.ptep);
  yield* pte_unmap();
  return pte.present ? pte_page(pte) : null;
});

/** Gives the page to the device, if nothing has happened since `seq`. */
export const mirror_commit = fn(
  function* mirror_commit(
    mirror: Mirror,
    addr: number,
    page: Page | null,
    seq: number,
  ): Steps<boolean | typeof AGAIN> {
    yield* mutex_lock(mirror.user_lock);
    const stale = yield* mmu_interval_read_retry(mirror.sub, seq);
    if (!stale && page) yield* set_spte(mirror, addr, page);
    yield* mutex_unlock(mirror.user_lock);
    return stale ? AGAIN : page !== null;
  },
  { hidden: true, onBehalf: true },
);

/** The device needs the page at `addr`. `false`: there is none. */
export const mirror_fault = fn(function* mirror_fault(
  mirror: Mirror,
  addr: number,
): Steps<boolean> {
  return yield* retry(function* () {
    const seq = yield* mmu_interval_read_begin(mirror.sub);
    yield* down_read(mirror.mm.mmap_lock);
    const page = yield* hmm_range_fault(mirror.mm, addr);
    yield* up_read(mirror.mm.mmap_lock);
    return yield* mirror_commit(mirror, addr, page, seq);
  });
});
