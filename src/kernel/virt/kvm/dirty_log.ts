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

type Bitmap = NonNullable<Memslot['dirty_bitmap']>;

/** The slot that has a guest frame, in the set that there was first: these scenarios do not change it. */
export function slot_of(kvm: Kvm, gfn: number): Memslot {
  const slots = kvm.memslot_sets[0] ?? [];
  return slots.find(
    ({ base_gfn, npages }) => gfn >= base_gfn && gfn < base_gfn + npages,
  ) as Memslot;
}

const set_bit_le = leaf(function* set_bit_le(rel_gfn: number, bitmap: Bitmap): Steps<void> {
  yield* swap_word(bitmap[rel_gfn] as Word, 1);
});

const xchg = leaf(
  function* xchg(bit: Word | undefined, value: number): Steps<number> {
    return yield* swap_word(bit as Word, value);
  },
  { address: [0] },
);

/** mark_page_dirty_in_slot(): the guest may have written to the page since the log was read last. */
export const mark_page_dirty_in_slot = fn(function* mark_page_dirty_in_slot(
  _kvm: Kvm,
  { dirty_bitmap, base_gfn }: Memslot,
  gfn: number,
): Steps<void> {
  const rel_gfn = gfn - base_gfn;
  if (dirty_bitmap?.[rel_gfn]) yield* set_bit_le(rel_gfn, dirty_bitmap);
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
  for (let i = 0; i < dirty_bitmap.length; i++) {
    if (!dirty_bitmap[i] || (yield* READ_ONCE(dirty_bitmap[i] as Word)) === 0) continue;
    const mask = yield* xchg(dirty_bitmap[i], 0);
    if (mask === 0) continue;
    dirty.push(base_gfn + i);
    yield* enable_log_dirty_pt_masked(kvm, base_gfn + i);
  }
  yield* write_unlock(kvm.mmu_lock);
  if (dirty.length > 0) yield* kvm_flush_remote_tlbs(kvm);
  return dirty;
});
