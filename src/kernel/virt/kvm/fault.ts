import { fn } from '../../../machine/fn.ts';
import { no } from '../../../machine/protection.ts';
import type { Page } from '../../../machine/memory.ts';
import type { Steps } from '../../../machine/op.ts';
import { read_lock, read_unlock, write_lock, write_unlock } from '../../../machine/ops/locks.ts';
import { READ_ONCE } from '../../../machine/ops/memory.ts';
import { page_is_owned } from '../../../machine/ops/secondary.ts';
import { hasStructPage } from '../../../machine/struct-pages.ts';
import { smp_rmb } from '../../../machine/ops/store-buffer.ts';
import { FOLL_WRITE } from '../../mm/gup-folio.ts';
import { gup_fast_fallback } from '../../mm/gup-slow.ts';
import { folio_put } from '../../mm/page-ref.ts';
import { folio_mark_dirty } from '../../mm/page-writeback.ts';
import { mmu_invalidate_retry_gfn, mmu_invalidate_retry_gfn_unsafe } from './mmu_invalidate.ts';
import { gfn_to_hva_memslot, gfn_to_memslot, kvm_memslot_is_invalid } from './memslots.ts';
import type { FaultinPage, Kvm, PageFault, RetPf, Vcpu } from './types.ts';

/**
 * A guest's fault: from its frame to the page of the process, and to an entry that maps it.
 *
 * Guarantee: the page that is mapped is the one that the process has there, and it is not freed before the entry
 * is removed. Mechanism: kvm_main.ts; this is its reader. The reference that the lookup takes is dropped as soon
 * as the page is mapped or found stale: while it was held the page could not be freed, and from then on the
 * notifier protects the entry.
 * What is written to struct page (dirty, accessed) is written while the page cannot be freed: under mmu_lock,
 * or with the reference (K12). A fault that has to be tried again drops everything and resumes the guest: who
 * moves a page waits until its references are gone (K13).
 *
 * Assumes: of pages that are only read nothing is said about writing (the kernel asks whether it may). Where
 * nothing is mapped the kernel would fault it in; here the guest's access is given up (KVM_PFN_ERR_FAULT).
 *
 * Follows linux v6.13 virt/kvm/kvm_main.c (__kvm_faultin_pfn, kvm_release_faultin_page) and arch/x86/kvm/mmu/mmu.c
 * (kvm_mmu_faultin_pfn, is_page_fault_stale, kvm_tdp_page_fault, direct_page_fault).
 */

/** hva_to_pfn(): the page at a host address, with a reference. */
export const hva_to_pfn = fn(function* hva_to_pfn(
  kvm: Kvm,
  hva: number,
  write: boolean,
): Steps<Page | null> {
  return yield* gup_fast_fallback(kvm.mm, hva, write ? FOLL_WRITE : 0);
});

/** kvm_pfn_to_refcounted_page(): the page of a frame that has a struct page; registers of a device have none. */
export const kvm_pfn_to_refcounted_page = fn(
  function* kvm_pfn_to_refcounted_page(kvm: Kvm, page: Page): Steps<Page | null> {
    return hasStructPage(kvm.machine, page) ? page : null;
  },
  { hidden: true },
);

/** kvm_mmu_faultin_pfn(): the page that a fault is about, or what is to be done instead. Under kvm->srcu. */
export const kvm_faultin_pfn = fn(function* kvm_faultin_pfn(
  vcpu: Vcpu,
  fault: PageFault,
): Steps<FaultinPage | RetPf> {
  const { kvm } = vcpu;
  const { gfn, write } = fault;
  const mmu_seq = yield* READ_ONCE(kvm.mmu_invalidate_seq);
  yield* smp_rmb(); // the sequence before the process's entries
  const slot = yield* gfn_to_memslot(kvm, gfn);
  if (!slot) return 'RET_PF_EMULATE';
  if (yield* kvm_memslot_is_invalid(kvm, slot)) return 'RET_PF_RETRY';
  if (yield* mmu_invalidate_retry_gfn_unsafe(kvm, mmu_seq, gfn)) return 'RET_PF_RETRY';
  const hva = yield* gfn_to_hva_memslot(kvm, slot, gfn);
  const page = yield* hva_to_pfn(kvm, hva, write);
  if (!page) return 'RET_PF_EMULATE';
  const found: FaultinPage = { ...fault, slot, mmu_seq, page, map_writable: write };
  if (!(yield* mmu_invalidate_retry_gfn_unsafe(kvm, mmu_seq, gfn))) return found;
  yield* kvm_release_faultin_page(kvm, found, true);
  return 'RET_PF_RETRY';
});

/** is_obsolete_sp(), of the root: is it being given up? It is zapped once, and nobody looks at it later. */
export const is_obsolete_root = fn(
  function* is_obsolete_root({ root_role_invalid }: Kvm): Steps<boolean> {
    return (yield* READ_ONCE(root_role_invalid)) === 1;
  },
  { hidden: true, protects: { what: 'is_obsolete_sp()', without: no } },
);

/** is_page_fault_stale(): is the root given up, or has the process lost the page since? Under mmu_lock. */
export const is_page_fault_stale = fn(
  function* is_page_fault_stale(vcpu: Vcpu, { mmu_seq, gfn }: FaultinPage): Steps<boolean> {
    if (yield* is_obsolete_root(vcpu.kvm)) return true;
    return yield* mmu_invalidate_retry_gfn(vcpu.kvm, mmu_seq, gfn);
  },
  { protects: { what: 'is_page_fault_stale()', without: no } },
);

/** kvm_set_page_dirty(): the page must not be freed meanwhile. */
export const kvm_set_page_dirty = fn(function* kvm_set_page_dirty(
  kvm: Kvm,
  page: Page,
): Steps<void> {
  yield* page_is_owned(page, `struct page of ${kvm.machine.memory.info(page.frame).name}`);
  yield* folio_mark_dirty(kvm.mm, page);
});

/** Drops the reference of the lookup; a page that was mapped for writing is dirty. Under mmu_lock, or `unused`. */
export const kvm_release_faultin_page = fn(function* kvm_release_faultin_page(
  kvm: Kvm,
  { page, map_writable }: FaultinPage,
  unused: boolean,
): Steps<void> {
  if (!unused && map_writable) yield* kvm_set_page_dirty(kvm, page);
  yield* folio_put(page);
});

/** Makes the entry for a fault that has its page. Under mmu_lock. */
export type MapFault = (vcpu: Vcpu, fault: PageFault, found: FaultinPage) => Steps<RetPf>;

const map_if_fresh = fn(
  function* map_if_fresh(vcpu: Vcpu, fault: FaultinPage, map: MapFault): Steps<RetPf> {
    const stale = yield* is_page_fault_stale(vcpu, fault);
    const ret = stale ? 'RET_PF_RETRY' : yield* map(vcpu, fault, fault);
    yield* kvm_release_faultin_page(vcpu.kvm, fault, ret === 'RET_PF_RETRY');
    return ret;
  },
  { hidden: true },
);

/** kvm_tdp_page_fault(): faults of several vCPUs may be in `map` at a time. */
export const kvm_tdp_page_fault = fn(function* kvm_tdp_page_fault(
  vcpu: Vcpu,
  fault: PageFault,
  map: MapFault,
): Steps<RetPf> {
  const found = yield* kvm_faultin_pfn(vcpu, fault);
  if (typeof found === 'string') return found;
  yield* read_lock(vcpu.kvm.mmu_lock);
  const ret = yield* map_if_fresh(vcpu, found, map);
  yield* read_unlock(vcpu.kvm.mmu_lock);
  return ret;
});

/** direct_page_fault(): the same with mmu_lock for writing, as the shadow MMU needs it. */
export const direct_page_fault = fn(function* direct_page_fault(
  vcpu: Vcpu,
  fault: PageFault,
  map: MapFault,
): Steps<RetPf> {
  const found = yield* kvm_faultin_pfn(vcpu, fault);
  if (typeof found === 'string') return found;
  yield* write_lock(vcpu.kvm.mmu_lock);
  const ret = yield* map_if_fresh(vcpu, found, map);
  yield* write_unlock(vcpu.kvm.mmu_lock);
  return ret;
});
