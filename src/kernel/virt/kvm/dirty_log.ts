import { fn, leaf } from '../../../machine/fn.ts';
import type { Word } from '../../../machine/memory.ts';
import type { Steps } from '../../../machine/op.ts';
import { READ_ONCE, swap_word } from '../../../machine/ops/memory.ts';
import { write_lock, write_unlock } from '../../../machine/ops/locks.ts';
import type { Kvm, Memslot } from './types.ts';
import { kvm_flush_remote_tlbs } from './vcpu.ts';

/**
 * The log of pages that the guest has written to, as user space reads it to copy a running guest.
 *
 * Guarantee: when user space has the log and copies the pages that it names, every store that its copy misses is
 * in the next log. Mechanism: the bit is cleared, and only then the page is write-protected and translations
 * flushed; a store after that faults, and whoever makes the page writable again sets the bit (S4 of the
 * specification). The flush need not be under mmu_lock: what it takes back are permissions, no mappings.
 *
 * Follows linux v6.12 virt/kvm/kvm_main.c (mark_page_dirty_in_slot, kvm_get_dirty_log_protect). A word of the
 * bitmap has a bit for 64 pages; here for one.
 */

/** The slot that has a guest frame, in the set that there was first: these scenarios do not change it. */
export function slot_of(kvm: Kvm, gfn: number): Memslot {
  const slots = kvm.memslot_sets[0] ?? [];
  return slots.find(
    ({ base_gfn, npages }) => gfn >= base_gfn && gfn < base_gfn + npages,
  ) as Memslot;
}

const set_bit_le = leaf(
  function* set_bit_le(bit: Word): Steps<void> {
    yield* swap_word(bit, 1);
  },
  { address: [0] },
);

const xchg_mask = leaf(
  function* xchg_mask(bit: Word): Steps<number> {
    return yield* swap_word(bit, 0);
  },
  { address: [0] },
);

/** mark_page_dirty_in_slot(): the guest may have written to the page since the log was read last. */
export const mark_page_dirty_in_slot = fn(function* mark_page_dirty_in_slot(
  _kvm: Kvm,
  { dirty_bitmap, base_gfn }: Memslot,
  gfn: number,
): Steps<void> {
  const bit = dirty_bitmap?.[gfn - base_gfn];
  if (bit) yield* set_bit_le(bit);
});

/** What an architecture does so that the next store to the page faults. */
export type WriteProtect = (kvm: Kvm, gfn: number) => Steps<unknown>;

/** kvm_get_dirty_log_protect(): the guest frames that were written to. The log is empty then. */
export const kvm_get_dirty_log_protect = fn(function* kvm_get_dirty_log_protect(
  kvm: Kvm,
  { dirty_bitmap = [], base_gfn }: Memslot,
  enable_log_dirty_pt_masked: WriteProtect,
): Steps<readonly number[]> {
  const dirty: number[] = [];
  yield* write_lock(kvm.mmu_lock);
  for (const [at, bit] of dirty_bitmap.entries()) {
    if (bit === undefined || (yield* READ_ONCE(bit)) === 0) continue;
    if ((yield* xchg_mask(bit)) === 0) continue;
    dirty.push(base_gfn + at);
    yield* enable_log_dirty_pt_masked(kvm, base_gfn + at);
  }
  yield* write_unlock(kvm.mmu_lock);
  if (dirty.length > 0) yield* kvm_flush_remote_tlbs(kvm);
  return dirty;
});
