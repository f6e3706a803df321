import type { Steps } from '../../machine/op.ts';
import {
  mmu_notifier_arch_invalidate_secondary_tlbs,
  mmu_notifier_clear_flush_young,
  mmu_notifier_clear_young,
  mmu_notifier_invalidate_range_end,
  mmu_notifier_invalidate_range_start,
  mmu_notifier_release,
  mmu_notifier_range_init,
} from './mmu_notifier.ts';
import type { MmuNotifierRange } from './mmu_notifier-types.ts';
import type { Mm } from './types.ts';

/**
 * What the primary MMU calls. Without CONFIG_MMU_NOTIFIER each is the empty function of
 * include/linux/mmu_notifier.h; with it, and with no subscriber, one load (test/kernel/mmu-notifier-disarmed.test.ts).
 */

/** Begins an invalidation of [start, end); `null`: one that may not sleep was refused. */
export function* invalidation_begins(
  mm: Mm,
  start: number,
  end: number,
  blockable: boolean = true,
): Steps<MmuNotifierRange | null> {
  const range = mmu_notifier_range_init(mm, start, end, blockable);
  if (!mm.notifiers) return range;
  return (yield* mmu_notifier_invalidate_range_start(range)) ? range : null;
}

/** Ends it. */
export function* invalidation_ends(range: MmuNotifierRange | null): Steps<void> {
  if (range?.mm.notifiers) yield* mmu_notifier_invalidate_range_end(range);
}

/** mmu_notifier_release(). */
export function* secondary_mmus_released(mm: Mm): Steps<void> {
  if (mm.notifiers) yield* mmu_notifier_release(mm);
}

/** mmu_notifier_clear_flush_young(). */
export function* used_through_secondary(mm: Mm, start: number, end: number): Steps<boolean> {
  return mm.notifiers !== undefined && (yield* mmu_notifier_clear_flush_young(mm, start, end));
}

/** mmu_notifier_clear_young(). */
export function* aged_through_secondary(mm: Mm, start: number, end: number): Steps<boolean> {
  return mm.notifiers !== undefined && (yield* mmu_notifier_clear_young(mm, start, end));
}

/** mmu_notifier_arch_invalidate_secondary_tlbs(). */
export function* secondary_tlbs_flushed(mm: Mm, start: number, end: number): Steps<void> {
  if (mm.notifiers) yield* mmu_notifier_arch_invalidate_secondary_tlbs(mm, start, end);
}
