/** `gracewalk/linux`: kernel functions and primitives under the kernel's names. */
export * from './pages.ts';
export { new_mm, new_page, new_pte_table, pmd_off, pte_off, pte_table, kernel_of } from './boot.ts';
export { keep_stores, new_device_frame, new_file_page, on_disk } from './boot-file.ts';
export type { Mappings, MmOptions } from './boot.ts';
export type {
  Folio,
  Kernel,
  Mm,
  Page,
  PerCpu,
  Pmd,
  Pmdp,
  Pte,
  Ptep,
  TlbContext,
  Vma,
} from './mm/types.ts';
export { PAGE_SIZE } from './mm/layout.ts';

export * from '../machine/ops/memory.ts';
export {
  entry_relied_on,
  read_high,
  read_low,
  write_high,
  write_low,
  xchg_low,
} from '../machine/ops/halves.ts';
export * from '../machine/ops/locks.ts';
export {
  csd_lock_wait,
  local_irq_restore,
  local_irq_save,
  preempt_disable,
  preempt_enable,
  send_ipi,
} from '../machine/ops/processor.ts';
export { invalidate_local, load_root, translations_gone } from '../machine/ops/tlb.ts';
export { kmalloc_GFP_KERNEL, non_block_end, non_block_start } from '../machine/ops/non-block.ts';
export {
  allocate_frame,
  contents_discarded,
  foreign_owner,
  free_frame,
} from '../machine/ops/pages.ts';
export {
  smp_mb,
  smp_mb__after_atomic,
  smp_mb__after_srcu_read_unlock,
  smp_rmb,
  smp_wmb,
} from '../machine/ops/store-buffer.ts';

export * from './kernel/rcu.ts';
export * from './kernel/fork.ts';
export * from './kernel/rculist.ts';
export * from './kernel/rcu-tree.ts';
export * from './kernel/srcu.ts';
export { quiescent_state } from '../machine/ops/rcu-gp.ts';
export * from './kernel/perf.ts';
export * from './kernel/smp.ts';
export * from './mm/pgtable.ts';
export { load_entry_high_first, load_entry_high_low_low } from './mm/pgtable-access.ts';
export * from './mm/pgtable-generic.ts';
export * from './mm/page-ref.ts';
export * from './mm/gup.ts';
export * from './mm/gup-folio.ts';
export * from './mm/gup-slow.ts';
export * from './mm/anon-share.ts';
export * from './mm/ksm.ts';
export * from './mm/migrate.ts';
export * from './mm/truncate.ts';
export * from './mm/tlb-batched.ts';
export * from './mm/try_to_unmap.ts';
export * from './mm/vmscan.ts';
export * from './mm/fault.ts';
export * from './mm/filemap-fault.ts';
export * from './mm/filemap.ts';
export * from './mm/huge_memory.ts';
export * from './mm/khugepaged.ts';
export * from './mm/pgtable-set.ts';
export * from './kernel/seqlock.ts';
export {
  free_pgtables,
  unlink_vmas,
  unmap_vmas,
  zap_present_pte,
  zap_pte_range,
} from './mm/memory.ts';
export * from './mm/fault.ts';
export * from './mm/mprotect.ts';
export * from './mm/retract.ts';
export * from './mm/rmap.ts';
export * from './mm/rmap-clean.ts';
export * from './mm/page-writeback.ts';
export * from './mm/user.ts';
export * from './mm/madvise.ts';
export * from './mm/pt_reclaim.ts';
export * from './mm/wp-page.ts';
export { pagetable_dtor, ptlock_free } from './mm/ptlock.ts';
export * from './mm/mmap.ts';
export * from './mm/exit_mmap.ts';
export * from './mm/folio-referenced.ts';
export * from './mm/oom_kill.ts';
export * from './mm/mm_all_locks.ts';
export * from './mm/mmu_interval_notifier.ts';
export * from './mm/mmu_notifier.ts';
export * from './mm/mmu_notifier-2008.ts';
export * from './mm/mmu_notifier-get.ts';
export * from './mm/mmu_notifier-boot.ts';
export type * from './mm/mmu_notifier-types.ts';
export * from './mm/mmu_gather.ts';
export * from './mm/mmu_gather-range.ts';
export * from './mm/mmu_gather-tables.ts';
export * from './mm/slab.ts';
export type { SlabObject } from '../machine/ops/slab.ts';
export * from './arch/flush.ts';
export * from './arch/arm64/tlbflush.ts';
export * from './arch/powerpc/radix-tlb.ts';
export * from './arch/riscv/tlbflush.ts';
export * from './arch/s390/pgtable.ts';
export * from './arch/s390/tlbflush.ts';
export * from './kernel/sched.ts';
export * from './arch/x86/switch-mm.ts';
export * from './arch/x86/tlb.ts';
export * from './arch/x86/tlb-batch.ts';
export * from './arch/x86/tlbstate.ts';
export * from './arch/x86/hyperv.ts';
export * from './arch/x86/kvm.ts';
export * from './arch/x86/invlpgb.ts';
export * from './drivers/gru.ts';
export * from './drivers/mirror.ts';
export * from './drivers/secondary-mmu.ts';
export * from './drivers/shadow.ts';
export * from './drivers/sva.ts';
export * from './drivers/xpmem.ts';
export * from './virt/kvm/emulate.ts';
export * from './virt/kvm/steal-time.ts';
export * from './virt/kvm/boot.ts';
export * from './virt/kvm/fault.ts';
export * from './virt/kvm/kvm_main.ts';
export * from './virt/kvm/memslots.ts';
export * from './virt/kvm/mmu_invalidate.ts';
export * from './virt/kvm/pfncache.ts';
export * from './virt/kvm/types.ts';
export * from './virt/kvm/vcpu.ts';
export { bug_on, gfns_unmapped, page_is_owned } from '../machine/ops/secondary.ts';
export * from './arch/x86/kvm/spte.ts';
export * from './arch/x86/kvm/tdp_iter.ts';
export * from './arch/x86/kvm/tdp_mmu.ts';
export * from './arch/x86/kvm/tdp_mmu_map.ts';
export * from './arch/x86/kvm/tdp_mmu_zap.ts';
export * from './arch/x86/kvm/tdp_mmu_age.ts';
export { tdp_mmu } from './arch/x86/kvm/tdp_mmu_host.ts';
export * from './arch/x86/kvm/tdp_boot.ts';
export * from './arch/x86/kvm/tdp_root.ts';
export * from './arch/x86/kvm/host-mapping-level.ts';
export * from './arch/x86/kvm/guest-stay.ts';
export * from './virt/kvm/copy.ts';
export * from './virt/kvm/dirty_log.ts';
export * from './arch/x86/kvm/fast_page_fault.ts';
export * from './arch/x86/kvm/hyperv-tlb.ts';
export * from './arch/x86/kvm/mmu-fault.ts';
export * from './arch/x86/kvm/mmu-map.ts';
export * from './arch/x86/kvm/mmu-spte.ts';
export * from './arch/x86/kvm/mmu-walk.ts';
export * from './arch/x86/kvm/mmu-wp.ts';
export * from './arch/x86/kvm/mmu-zap.ts';
export * from './arch/x86/kvm/pte-list.ts';
export * from './arch/x86/kvm/rmap.ts';
export * from './arch/x86/kvm/rmap-age.ts';
export * from './arch/x86/kvm/shadow-ops.ts';
export * from './arch/x86/kvm/shadow-page.ts';
export { AGAIN, retry } from '../machine/ops/retry.ts';
