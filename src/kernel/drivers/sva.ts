import type { Actor } from '../../machine/actor.ts';
import { fn, leaf } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Steps } from '../../machine/op.ts';
import { flush_walker, guest_load } from '../../machine/ops/guest.ts';
import { down_read, up_read } from '../../machine/ops/locks.ts';
import type { MmuNotifier, MmuNotifierOps } from '../mm/mmu_notifier-types.ts';
import type { Mm } from '../mm/types.ts';
import { wp_page_reuse } from '../mm/wp-page.ts';

/**
 * A device that walks the process's own page tables (shared virtual addressing) and has a TLB for them.
 *
 * Guarantee: what holds for a processor's TLB holds for the device's. Mechanism: every flush of the processors'
 * TLBs tells it (arch_invalidate_secondary_tlbs), before the entry says something else. A fault of the device
 * is handled like the process's own.
 * Why not at the end of an invalidation: where a page is replaced by a copy, stores to the copy are visible before
 * that, and the device would still read the old page (N14).
 *
 * Follows linux v6.12 drivers/iommu (arm-smmu-v3-sva.c, iommu-sva.c) and Documentation/mm/mmu_notifier.rst.
 */
export interface SvaDevice {
  readonly name: string;
  readonly mm: Mm;
  readonly walker: number;
}

const NOBODY: Actor = Object.freeze({
  index: 0,
  name: 'setup',
  column: '',
  cpu: -1,
  kind: 'host',
  daemon: true,
  shared: false,
  creator: -1,
});

/** A device bound to the address space; it may have cached anything of it. Before the first step. */
export function new_sva_device(machine: Machine, mm: Mm, name: string): SvaDevice {
  const walker = machine.addWalker(name, 0);
  machine.translations.loadRoot(NOBODY, walker, mm.pgd, false);
  return Object.freeze({ name, mm, walker: walker.index });
}

export const sva_load = leaf(function* sva_load(
  { walker }: SvaDevice,
  addr: number,
): Steps<bigint | null> {
  return (yield* guest_load(walker, addr))?.bits ?? null;
});

/** Invalidates what the device has cached of the range. It does not sleep. */
export const iotlb_flush_range = leaf(function* iotlb_flush_range(
  { walker, mm }: SvaDevice,
  start: number,
  end: number,
): Steps<void> {
  yield* flush_walker(walker, mm.pgd, start, end, false);
});

export function sva_ops(device: SvaDevice): MmuNotifierOps {
  return Object.freeze({
    arch_invalidate_secondary_tlbs: (_mn: MmuNotifier, start: number, end: number) =>
      iotlb_flush_range(device, start, end),
  });
}

/** iommu_sva_handle_mm(): a write fault of the device, on a page that is nobody else's. */
export const iommu_sva_handle_mm = fn(function* iommu_sva_handle_mm(
  mm: Mm,
  addr: number,
): Steps<void> {
  yield* down_read(mm.mmap_lock);
  yield* wp_page_reuse(mm, addr);
  yield* up_read(mm.mmap_lock);
});
