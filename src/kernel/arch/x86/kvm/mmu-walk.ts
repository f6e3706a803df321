import { fn, leaf } from '../../../../machine/fn.ts';
import type { Word } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { read_entry, swap_word, store_word } from '../../../../machine/ops/memory.ts';
import { local_irq_restore, local_irq_save } from '../../../../machine/ops/processor.ts';
import { sptep_at } from '../../../virt/kvm/boot.ts';
import type { Spte, Sptep, Vcpu } from '../../../virt/kvm/types.ts';
import { OUTSIDE_GUEST_MODE, READING_SHADOW_PAGE_TABLES } from '../../../virt/kvm/vcpu.ts';
import { spte_to_child_pt } from './spte.ts';

/**
 * Walks of shadow pages without mmu_lock.
 *
 * Guarantee: until the walk ends, no shadow page that it can find is freed. Mechanism: interrupts are off, and
 * vcpu->mode says that shadow pages are being read. Whoever frees some has unlinked them first, and then flushes
 * all vCPUs (kvm_flush_remote_tlbs): a vCPU whose mode is not OUTSIDE_GUEST_MODE is sent an interrupt, which it
 * takes when the walk is over. Why it suffices: the mode is stored before the first entry is read, with a full
 * barrier, and the flusher has one between unlinking and looking at the mode. So either he sees the mode and
 * waits, or the walk sees the entry without the page. The mode is there only so that the flush does not skip the
 * vCPU: it means "in the guest" to nobody.
 * Assumes: flushes interrupt and wait. One by hypercall does neither (see hyperv-tlb.ts).
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/mmu.c (walk_shadow_page_lockless_begin, fast_pf_get_last_sptep), since
 * "KVM: MMU: Don't use RCU for lockless shadow walking" (2012); before that call_rcu() freed the pages.
 */

/** Stores a word and lets nothing after it happen before everybody sees it. x86: an exchange. */
export const smp_store_mb = leaf(
  function* smp_store_mb(word: Word, value: number): Steps<void> {
    yield* swap_word(word, value);
  },
  {
    address: [0],
    protects: {
      what: 'the barrier of smp_store_mb()',
      without: function* (word, value) {
        yield* store_word(word, value);
      },
    },
  },
);

/** smp_store_release(): on x86 a plain store. */
export const smp_store_release = leaf(
  function* smp_store_release(word: Word, value: number): Steps<void> {
    yield* store_word(word, value);
  },
  { address: [0] },
);

/** The mode that makes flushes wait for the walk. */
export const mode_reading = fn(
  function* mode_reading(vcpu: Vcpu): Steps<void> {
    yield* smp_store_mb(vcpu.mode, READING_SHADOW_PAGE_TABLES);
  },
  { hidden: true, protects: { what: 'READING_SHADOW_PAGE_TABLES' } },
);

/** Returns the interrupt state for the end. */
export const walk_shadow_page_lockless_begin = fn(
  function* walk_shadow_page_lockless_begin(vcpu: Vcpu): Steps<number> {
    const flags = yield* local_irq_save();
    yield* mode_reading(vcpu);
    return flags;
  },
  { onBehalf: true },
);

export const walk_shadow_page_lockless_end = fn(function* walk_shadow_page_lockless_end(
  vcpu: Vcpu,
  flags: number,
): Steps<void> {
  yield* smp_store_release(vcpu.mode, OUTSIDE_GUEST_MODE); // entries are read before it
  yield* local_irq_restore(flags);
});

/** mmu_spte_get_lockless(): one load. */
export const mmu_spte_get_lockless = leaf(function* mmu_spte_get_lockless(
  sptep: Sptep,
): Steps<Spte> {
  return yield* read_entry(sptep);
});

/** Where a walk ended, and what it read there. */
export interface LastSpte {
  readonly sptep: Sptep;
  readonly spte: Spte;
  readonly level: number;
}

/** fast_pf_get_last_sptep(): the entry that maps a guest frame, or the one that leads nowhere. */
export const fast_pf_get_last_sptep = fn(function* fast_pf_get_last_sptep(
  { kvm }: Vcpu,
  gfn: number,
): Steps<LastSpte> {
  let table = kvm.root;
  for (let level = kvm.root_level; ; level--) {
    const sptep = sptep_at(kvm, table, level, gfn);
    const spte = yield* mmu_spte_get_lockless(sptep);
    const child = spte_to_child_pt(kvm, spte, level);
    if (!child) return { sptep, spte, level };
    table = child;
  }
});
