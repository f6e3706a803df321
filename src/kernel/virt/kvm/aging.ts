import { fn } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { PAGE_SIZE } from '../../mm/layout.ts';
import type { MmuNotifierOps } from '../../mm/mmu_notifier-types.ts';
import { kvm_handle_hva_range, type GfnHandler } from './kvm_main.ts';
import type { Kvm } from './types.ts';

/**
 * Has the guest used the process's pages?
 *
 * Guarantee: of clear_flush_young, that a use after it leaves a new mark; of the others none: what the guest uses
 * through a translation that is cached, with its mark, is used unseen. Mechanism: the marks of the guest's
 * entries are taken under mmu_lock, and only clear_flush_young makes every vCPU forget what it has cached.
 * Why no flush is no mistake: a page that looks old is reclaimed too early and faulted in again, which costs time.
 * It is told of before it is freed, as every page is.
 *
 * Follows linux v6.12 virt/kvm/kvm_main.c (kvm_mmu_notifier_clear_flush_young, kvm_mmu_notifier_clear_young,
 * kvm_mmu_notifier_test_young).
 */

const kvm_age_gfn: GfnHandler = (kvm, start, end) => kvm.mmu.age_gfn(kvm, start, end, true);
const kvm_test_age_gfn: GfnHandler = (kvm, start, end) => kvm.mmu.age_gfn(kvm, start, end, false);

export const kvm_mmu_notifier_clear_flush_young = fn(function* kvm_mmu_notifier_clear_flush_young(
  kvm: Kvm,
  start: number,
  end: number,
): Steps<boolean> {
  const range = { start, end, handler: kvm_age_gfn, flush_on_ret: true };
  return (yield* kvm_handle_hva_range(kvm, range)).ret;
});

export const kvm_mmu_notifier_clear_young = fn(function* kvm_mmu_notifier_clear_young(
  kvm: Kvm,
  start: number,
  end: number,
): Steps<boolean> {
  return (yield* kvm_handle_hva_range(kvm, { start, end, handler: kvm_age_gfn })).ret;
});

export const kvm_mmu_notifier_test_young = fn(function* kvm_mmu_notifier_test_young(
  kvm: Kvm,
  addr: number,
): Steps<boolean> {
  const range = { start: addr, end: addr + PAGE_SIZE, handler: kvm_test_age_gfn };
  return (yield* kvm_handle_hva_range(kvm, range)).ret;
});

/** Of kvm_mmu_notifier_ops what is for aging. */
export function kvm_aging_ops(kvm: Kvm): MmuNotifierOps {
  return Object.freeze({
    clear_flush_young: (_mn, start, end) => kvm_mmu_notifier_clear_flush_young(kvm, start, end),
    clear_young: (_mn, start, end) => kvm_mmu_notifier_clear_young(kvm, start, end),
    test_young: (_mn, addr) => kvm_mmu_notifier_test_young(kvm, addr),
  } satisfies MmuNotifierOps);
}
