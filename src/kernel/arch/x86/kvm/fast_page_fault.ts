import { fn } from '../../../../machine/fn.ts';
import type { Steps } from '../../../../machine/op.ts';
import { mark_page_dirty_in_slot, slot_of } from '../../../virt/kvm/dirty_log.ts';
import type { Memslot, PageFault, RetPf, Spte, Sptep, Vcpu } from '../../../virt/kvm/types.ts';
import {
  fast_pf_get_last_sptep,
  walk_shadow_page_lockless_begin,
  walk_shadow_page_lockless_end,
  type LastSpte,
} from './mmu-walk.ts';
import {
  is_access_track_spte,
  is_last_spte,
  is_mmu_writable_spte,
  is_shadow_present_pte,
  is_writable_pte,
  restore_acc_track_spte,
  spte_ad_enabled,
  try_cmpxchg64,
} from './spte.ts';
import { make_writable } from './spte-writable.ts';

/**
 * Faults that are mended without mmu_lock: a write to a page that is write-protected only for the log of dirty
 * pages, and an access to one whose use is being watched.
 *
 * Guarantee: only a permission that KVM had given already comes back, and only to the page that has it; what the
 * guest then stores is in the log. Mechanism: the entry is replaced by a compare-and-exchange, so a zap or
 * write protection in between makes it fail; MMU-writable is taken away only under mmu_lock and followed by a
 * flush. The log is marked after the entry was changed: a harvest in between then finds the mark, or has
 * found the entry writable; marked before, the mark would be harvested with nothing to protect.
 * Why the entry's table is there: the walk without a lock (mmu-walk.ts).
 * Assumes: the page is the same if the bits are. KVM never changes an entry from one page to another at once.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (fast_page_fault).
 */

/** Of hardware with accessed bits only writes: what else faults is not mapped. */
function page_fault_can_be_fast({ kvm }: Vcpu, { write }: PageFault): boolean {
  return write || !spte_ad_enabled(kvm);
}

/** is_access_allowed(). */
function is_access_allowed({ kvm }: Vcpu, { write }: PageFault, spte: Spte): boolean {
  return write ? is_writable_pte(kvm, spte) : !is_access_track_spte(kvm, spte);
}

/** Is a leaf made writable although stores are logged, for each page of the lowest level, by faults? */
export const huge_is_logged = fn(
  function* huge_is_logged(slot: Memslot, level: number): Steps<boolean> {
    return level > 0 && slot.dirty_bitmap !== undefined;
  },
  { hidden: true },
);

/** The entry with the permissions that may be given back; unchanged if there are none. */
const mended = fn(
  function* mended(vcpu: Vcpu, fault: PageFault, { spte, level }: LastSpte): Steps<Spte> {
    const { kvm } = vcpu;
    const tracked = is_access_track_spte(kvm, spte);
    const restored = tracked ? restore_acc_track_spte(kvm, spte, level) : spte;
    if (!fault.write || !is_mmu_writable_spte(kvm, spte)) return restored;
    if (yield* huge_is_logged(slot_of(kvm, fault.gfn), level)) return spte;
    return make_writable(kvm, restored, level);
  },
  { hidden: true },
);

/** fast_pf_fix_direct_spte(): changes the entry, and then logs the page if it may be written from now on. */
export const fast_pf_fix_direct_spte = fn(function* fast_pf_fix_direct_spte(
  { kvm }: Vcpu,
  { gfn }: PageFault,
  sptep: Sptep,
  old: Spte,
  spte: Spte,
): Steps<boolean> {
  if (!(yield* try_cmpxchg64(sptep, old, spte))) return false;
  if (is_writable_pte(kvm, spte) && !is_writable_pte(kvm, old)) {
    yield* mark_page_dirty_in_slot(kvm, slot_of(kvm, gfn), gfn);
  }
  return true;
});

/** One look at the entry. Null: somebody changed it, look again. RET_PF_INVALID: not to be mended so. */
const try_to_fix = fn(
  function* try_to_fix(vcpu: Vcpu, fault: PageFault): Steps<RetPf | 'RET_PF_INVALID' | null> {
    const last = yield* fast_pf_get_last_sptep(vcpu, fault.gfn);
    const { sptep, spte, level } = last;
    if (!is_shadow_present_pte(vcpu.kvm, spte)) return 'RET_PF_INVALID';
    if (!is_last_spte(vcpu.kvm, spte, level)) return 'RET_PF_INVALID';
    if (is_access_allowed(vcpu, fault, spte)) return 'RET_PF_SPURIOUS';
    const fixed = yield* mended(vcpu, fault, last);
    if (!is_access_allowed(vcpu, fault, fixed)) return 'RET_PF_INVALID';
    const done = yield* fast_pf_fix_direct_spte(vcpu, fault, sptep, spte, fixed);
    return done ? 'RET_PF_FIXED' : null;
  },
  { hidden: true },
);

/** fast_page_fault(). RET_PF_INVALID: the fault needs mmu_lock. */
export const fast_page_fault = fn(function* fast_page_fault(
  vcpu: Vcpu,
  fault: PageFault,
): Steps<RetPf | 'RET_PF_INVALID'> {
  if (!page_fault_can_be_fast(vcpu, fault)) return 'RET_PF_INVALID';
  const flags = yield* walk_shadow_page_lockless_begin(vcpu);
  let ret: RetPf | 'RET_PF_INVALID' | null = null;
  for (let tries = 0; ret === null && tries < 4; tries++) ret = yield* try_to_fix(vcpu, fault);
  yield* walk_shadow_page_lockless_end(vcpu, flags);
  return ret ?? 'RET_PF_INVALID';
});
