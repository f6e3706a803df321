import { FROZEN_SPTE } from '../../../../arch/kvm-spte.ts';
import { SPTE_MASKS, type SpteMasks } from '../../../../arch/kvm-spte-masks.ts';
import { leaf } from '../../../../machine/fn.ts';
import { STAGE } from '../../../../machine/stages.ts';
import type { Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import {
  and_entry,
  cmpxchg_entry,
  read_entry,
  write_entry,
  xchg_entry,
} from '../../../../machine/ops/memory.ts';
import type { Kvm, Spte, Sptep } from '../../../virt/kvm/types.ts';

/**
 * Entries of KVM's x86 tables: what they say, and how they are read and written.
 *
 * An entry that KVM made has a bit of its own (SPTE_MMU_PRESENT), because hardware's idea of "present" is not
 * KVM's: an entry whose access is tracked allows nothing and still maps its page. FROZEN_SPTE allows nothing,
 * maps nothing, and is not free either: whoever stored it is about to store again, and nobody else may.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/spte.{h,c} and arch/x86/kvm/mmu/tdp_iter.h. Levels count from 0 for the
 * table of 4 KiB entries, where the kernel has PG_LEVEL_4K = 1.
 */

/** What entries depend on: any `Kvm`. */
export type SpteFormat = Pick<Kvm, 'machine' | 'stage' | 'tables'>;

/** The bits of the entries of this machine's tables. */
export function masks_of(kvm: SpteFormat): SpteMasks {
  const masks = SPTE_MASKS[kvm.tables];
  if (!masks) throw new RangeError(`KVM has no entries for ${kvm.tables} tables`);
  return masks;
}

function spte_of(kvm: SpteFormat, level: number, bits: bigint, generation: number): Spte {
  return kvm.machine.memory.entry(bits, generation, kvm.stage * STAGE + level);
}

/** The same entry with other bits: it still means the page, or table, that it meant. */
function with_bits(kvm: SpteFormat, level: number, spte: Spte, bits: bigint): Spte {
  return spte_of(kvm, level, bits, spte.generation);
}

/** SHADOW_NONPRESENT_VALUE. */
export function nonpresent_spte(kvm: SpteFormat, level: number): Spte {
  return spte_of(kvm, level, kvm.machine.arch.none(kvm.stage * STAGE + level), 0);
}

/** FROZEN_SPTE: another CPU is changing the entry, or its table has been removed. */
export function frozen_spte(kvm: SpteFormat, level: number): Spte {
  return spte_of(kvm, level, FROZEN_SPTE['v6.12'], 0);
}

export function is_frozen_spte(spte: Spte): boolean {
  return spte.bits === FROZEN_SPTE['v6.12'];
}

/** is_shadow_present_pte(): it maps a page or leads to a table, whether hardware may use it now or not. */
export function is_shadow_present_pte(kvm: SpteFormat, spte: Spte): boolean {
  return (spte.bits & masks_of(kvm).present) !== 0n;
}

/** The bits that name its page: also of an entry whose access is tracked, which hardware sees as not present. */
export function spte_pfn_bits({ bits }: Spte): bigint {
  return bits & (((1n << 52n) - 1n) ^ 0xfffn);
}

export function is_large_pte(kvm: SpteFormat, spte: Spte): boolean {
  return (spte.bits & masks_of(kvm).large) !== 0n;
}

/** is_last_spte(): it maps a page. Of present entries only. */
export function is_last_spte(kvm: SpteFormat, spte: Spte, level: number): boolean {
  return level === 0 || is_large_pte(kvm, spte);
}

/** spte_to_child_pt(): the table that a present entry leads to. */
export function spte_to_child_pt(kvm: SpteFormat, spte: Spte, level: number): Page | null {
  if (!is_shadow_present_pte(kvm, spte) || is_last_spte(kvm, spte, level)) return null;
  return kvm.machine.memory.page(spte.frame, spte.generation);
}

/** spte_to_pfn(): the page that a present leaf maps. */
export function spte_to_pfn(kvm: SpteFormat, { frame, generation }: Spte): Page {
  return kvm.machine.memory.page(frame, generation);
}

export function is_writable_pte(kvm: SpteFormat, spte: Spte): boolean {
  return (spte.bits & masks_of(kvm).writable) !== 0n;
}

export function is_host_writable_spte(kvm: SpteFormat, spte: Spte): boolean {
  return (spte.bits & masks_of(kvm).host_writable) !== 0n;
}

export function is_mmu_writable_spte(kvm: SpteFormat, spte: Spte): boolean {
  return (spte.bits & masks_of(kvm).mmu_writable) !== 0n;
}

export function spte_ad_enabled(kvm: SpteFormat): boolean {
  return masks_of(kvm).ad_disabled === 0n;
}

/** is_access_track_spte(): hardware faults on it, so that KVM learns of the next access. */
export function is_access_track_spte(kvm: SpteFormat, spte: Spte): boolean {
  const { acc_track } = masks_of(kvm);
  return acc_track !== 0n && (spte.bits & acc_track) === 0n;
}

export function is_accessed_spte(kvm: SpteFormat, spte: Spte): boolean {
  const { accessed } = masks_of(kvm);
  return accessed === 0n ? !is_access_track_spte(kvm, spte) : (spte.bits & accessed) !== 0n;
}

/** is_dirty_spte(): by the dirty bit, or where there is none by the write permission. */
export function is_dirty_spte(kvm: SpteFormat, spte: Spte): boolean {
  const { dirty } = masks_of(kvm);
  return dirty === 0n ? is_writable_pte(kvm, spte) : (spte.bits & dirty) !== 0n;
}

/** spte_has_volatile_bits(): others than the holder of mmu_lock may be changing it. Present leaves only. */
export function spte_has_volatile_bits(kvm: SpteFormat, spte: Spte): boolean {
  if (!is_writable_pte(kvm, spte) && is_mmu_writable_spte(kvm, spte)) return true; // fast page faults
  if (is_access_track_spte(kvm, spte)) return true;
  if (!spte_ad_enabled(kvm)) return false;
  const clean = is_writable_pte(kvm, spte) && !is_dirty_spte(kvm, spte);
  return !is_accessed_spte(kvm, spte) || clean;
}

/** What a mapping allows. */
export interface SpteAccess {
  readonly write: boolean;
  /** The host's own entry is writable (kvm_page_fault.map_writable); as `write` if it is not said. */
  readonly host_writable?: boolean;
}

/** make_spte(): an entry that maps `page`, used already, and dirty if it may be written. */
export function make_spte(kvm: SpteFormat, level: number, page: Page, access: SpteAccess): Spte {
  const { write, host_writable = write } = access;
  const masks = masks_of(kvm);
  const { arch } = kvm.machine;
  let bits = arch.leaf(kvm.stage * STAGE + level, page.frame, { writable: write });
  bits |= masks.present | masks.ad_disabled | masks.accessed;
  if (masks.accessed === 0n) bits &= ~SPTE_NO_AD; // hardware keeps none, so KVM sets none
  if (host_writable) bits |= masks.host_writable;
  if (write) bits |= masks.mmu_writable | masks.dirty;
  return spte_of(kvm, level, bits, page.generation);
}

/** A and D of EPT, which mean nothing where EPTP does not enable them. */
const SPTE_NO_AD = (1n << 8n) | (1n << 9n);

/** make_nonleaf_spte(): an entry that leads to the table `sp`. */
export function make_nonleaf_spte(kvm: SpteFormat, level: number, sp: Page): Spte {
  const { present, ad_disabled } = masks_of(kvm);
  const link = kvm.machine.arch.table(kvm.stage * STAGE + level, sp.frame);
  return spte_of(kvm, level, link | present | ad_disabled, sp.generation);
}

/**
 * make_huge_page_split_spte(): an entry of the table that takes the place of a huge page's. Of a huge page there is
 * one frame here, so all of them lead to it.
 */
export function make_huge_page_split_spte(kvm: SpteFormat, huge_spte: Spte, level: number): Spte {
  const page = spte_to_pfn(kvm, huge_spte);
  return make_spte(kvm, level, page, {
    write: is_writable_pte(kvm, huge_spte),
    host_writable: is_host_writable_spte(kvm, huge_spte),
  });
}

/** mark_spte_for_access_track(): takes the access away and keeps what it was, write permission excepted. */
export function mark_spte_for_access_track(kvm: SpteFormat, spte: Spte, level: number): Spte {
  const { accessed, acc_track, acc_track_saved, acc_track_shift } = masks_of(kvm);
  if (accessed !== 0n) return with_bits(kvm, level, spte, spte.bits & ~accessed);
  if (is_access_track_spte(kvm, spte)) return spte;
  const saved = (spte.bits & acc_track_saved) << acc_track_shift;
  return with_bits(kvm, level, spte, (spte.bits & ~acc_track) | saved);
}

/** restore_acc_track_spte(). */
export function restore_acc_track_spte(kvm: SpteFormat, spte: Spte, level: number): Spte {
  const { acc_track_saved, acc_track_shift } = masks_of(kvm);
  const saved = (spte.bits >> acc_track_shift) & acc_track_saved;
  const kept = spte.bits & ~(acc_track_saved << acc_track_shift);
  return with_bits(kvm, level, spte, kept | saved);
}

/** kvm_tdp_mmu_read_spte(): one load. */
export const kvm_tdp_mmu_read_spte = leaf(function* kvm_tdp_mmu_read_spte(
  sptep: Sptep,
): Steps<Spte> {
  return yield* read_entry(sptep);
});

/** kvm_tdp_mmu_write_spte_atomic(): an exchange; returns what it replaced. */
export const kvm_tdp_mmu_write_spte_atomic = leaf(
  function* kvm_tdp_mmu_write_spte_atomic(sptep: Sptep, new_spte: Spte): Steps<Spte> {
    return yield* xchg_entry(sptep, new_spte);
  },
  { address: [0] },
);

/** __kvm_tdp_mmu_write_spte(): one store, whatever is there. */
export const __kvm_tdp_mmu_write_spte = leaf(
  function* __kvm_tdp_mmu_write_spte(sptep: Sptep, new_spte: Spte): Steps<void> {
    yield* write_entry(sptep, new_spte);
  },
  { address: [0] },
);

/** try_cmpxchg64() on an entry: fails, and only reads, if it is not `old_spte` any more. */
export const try_cmpxchg64 = leaf(
  function* try_cmpxchg64(sptep: Sptep, old_spte: Spte, new_spte: Spte): Steps<boolean> {
    return yield* cmpxchg_entry(sptep, old_spte, new_spte);
  },
  { address: [0, 1] },
);

/** tdp_mmu_clear_spte_bits_atomic(): an AND, whatever the entry says by now; returns what it said. */
export const tdp_mmu_clear_spte_bits_atomic = leaf(
  function* tdp_mmu_clear_spte_bits_atomic(sptep: Sptep, mask: bigint): Steps<Spte> {
    return yield* and_entry(sptep, ~mask);
  },
  { address: [0] },
);
