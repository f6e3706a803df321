import { fn, leaf } from '../../../machine/fn.ts';
import type { Word } from '../../../machine/memory.ts';
import type { Steps } from '../../../machine/op.ts';
import { READ_ONCE, WRITE_ONCE, swap_word, write_word } from '../../../machine/ops/memory.ts';
import { smp_mb } from '../../../machine/ops/store-buffer.ts';
import { load_root } from '../../../machine/ops/tlb.ts';
import type { Kernel, Mm, PerCpu, TlbContext } from '../../mm/types.ts';
import {
  INIT_MM,
  LOADED_MM_SWITCHING,
  TLB_GENERATION_INVALID,
  TLB_NR_DYN_ASIDS,
  kern_pcid,
  this_cpu,
} from './tlbstate.ts';

/**
 * A CPU changes its address space, and its translation caches with it.
 *
 * Guarantee: once the new address space is loaded, the CPU holds no translation of it that a completed flush
 * has promised to be gone, though it keeps what it cached when it last ran it.
 * Mechanism: first the CPU makes itself known (loaded_mm says that it is switching, its bit is set in the
 * mask), then a full barrier, then it reads the generation of the address space; if what it keeps is older,
 * the new root is loaded with a flush.
 * Why it suffices: a flush raises the generation, also a full barrier, and then looks for CPUs. If the CPU
 * reads the old generation, the flush finds it and interrupts it; interrupts are off until the switch is
 * over, so the handler runs in the new address space. Each of the two orders is needed (M4.1, M4.2), and so
 * is the barrier: a store that waits in the store buffer makes nobody known.
 * Assumes: interrupts are off.
 *
 * Follows linux v6.12 arch/x86/mm/tlb.c (switch_mm_irqs_off, choose_new_asid, enter_lazy_tlb), 6.12.117 for
 * where LOADED_MM_SWITCHING is stored.
 */

/** Atomic, and a full barrier. */
export const cpumask_set_cpu = leaf(
  function* cpumask_set_cpu(cpu: number, mm: Mm): Steps<void> {
    yield* swap_word(mm.cpumask[cpu] as Word, 1);
  },
  {
    protects: {
      what: 'the barrier of cpumask_set_cpu()',
      without: (cpu, mm) => write_word(mm.cpumask[cpu] as Word, 1),
    },
  },
);

export const cpumask_clear_cpu = leaf(function* cpumask_clear_cpu(
  cpu: number,
  mm: Mm,
): Steps<void> {
  yield* swap_word(mm.cpumask[cpu] as Word, 0);
});

/** Neither the old address space nor the new one: a flush of either finds this CPU. */
const announce_switch = fn(
  function* announce_switch(own: PerCpu): Steps<void> {
    yield* WRITE_ONCE(own.loaded_mm, LOADED_MM_SWITCHING);
  },
  { hidden: true, protects: { what: 'LOADED_MM_SWITCHING' } },
);

/**
 * From here on no flush of `next` is missed: either it finds this CPU, or its generation is read here. Without
 * a next address space (init_mm) there is nothing to be found for.
 */
export const start_receiving_flushes = fn(
  function* start_receiving_flushes(
    own: PerCpu,
    prev: Mm | undefined,
    next: Mm | null,
  ): Steps<number> {
    yield* announce_switch(own);
    if (prev) yield* cpumask_clear_cpu(own.cpu, prev);
    if (!next) return TLB_GENERATION_INVALID;
    yield* cpumask_set_cpu(own.cpu, next); // the barrier
    return yield* READ_ONCE(next.tlb_gen);
  },
  { hidden: true },
);

/** What a CPU switches to: a slot, and whether what is cached under its tag is of no use any more. */
export interface NewAsid {
  readonly asid: number;
  readonly need_flush: boolean;
}

/** The slot that the address space had here before, or the next one in turn. */
export const choose_new_asid = fn(function* choose_new_asid(
  own: PerCpu,
  next: Mm,
  next_tlb_gen: number,
): Steps<NewAsid> {
  for (const [asid, ctx] of own.ctxs.entries()) {
    if ((yield* READ_ONCE(ctx.ctx_id)) !== next.id) continue;
    const known = yield* READ_ONCE(ctx.tlb_gen);
    return { asid, need_flush: known < next_tlb_gen };
  }
  const asid = yield* READ_ONCE(own.next_asid);
  yield* WRITE_ONCE(own.next_asid, (asid + 1) % TLB_NR_DYN_ASIDS);
  return { asid, need_flush: true }; // what the last owner of the tag has cached
});

/** CR3, with the bit that keeps what is cached under the tag, or without. */
const load_new_mm_cr3 = leaf(
  function* load_new_mm_cr3(next: Mm, asid: number, need_flush: boolean): Steps<void> {
    yield* load_root(next.pgd, need_flush, kern_pcid(asid));
  },
  {
    protects: {
      what: 'the flush by load_new_mm_cr3()',
      without: (next, asid) => load_root(next.pgd, false, kern_pcid(asid)),
    },
  },
);

/** swapper_pg_dir: no user memory is translated. */
const load_swapper_cr3 = leaf(function* load_swapper_cr3(): Steps<void> {
  yield* load_root(0, false);
});

/** Orders `is_lazy = false` before the read of the generation, as the mask's bit does on the long way. */
export const leave_lazy_mb = fn(
  function* leave_lazy_mb(): Steps<void> {
    yield* smp_mb();
  },
  { hidden: true },
);

/**
 * The address space is loaded still, but no flush of leaf entries has come through while the CPU was lazy: it
 * compares generations by itself.
 */
export const leave_lazy_tlb = fn(
  function* leave_lazy_tlb(own: PerCpu, mm: Mm): Steps<void> {
    yield* leave_lazy_mb();
    const next_tlb_gen = yield* READ_ONCE(mm.tlb_gen);
    const asid = yield* READ_ONCE(own.loaded_mm_asid);
    const ctx = own.ctxs[asid] as TlbContext;
    if ((yield* READ_ONCE(ctx.tlb_gen)) === next_tlb_gen) return;
    yield* WRITE_ONCE(ctx.tlb_gen, next_tlb_gen);
    yield* load_new_mm_cr3(mm, asid, true);
  },
  { hidden: true, protects: { what: 'the flush of a CPU that was lazy' } },
);

/** Loads `next`, or init_mm if it is null. */
export const switch_mm_irqs_off = fn(function* switch_mm_irqs_off(
  kernel: Kernel,
  next: Mm | null,
): Steps<void> {
  const own = this_cpu(kernel);
  const prev = yield* READ_ONCE(own.loaded_mm);
  const was_lazy = yield* READ_ONCE(own.is_lazy);
  if (was_lazy) yield* WRITE_ONCE(own.is_lazy, 0);
  if (prev === (next?.id ?? INIT_MM)) {
    if (was_lazy && next) yield* leave_lazy_tlb(own, next);
    return;
  }
  const next_tlb_gen = yield* start_receiving_flushes(own, kernel.mms.get(prev), next);
  if (next) {
    const { asid, need_flush } = yield* choose_new_asid(own, next, next_tlb_gen);
    if (need_flush) {
      const ctx = own.ctxs[asid] as TlbContext;
      yield* WRITE_ONCE(ctx.ctx_id, next.id);
      yield* WRITE_ONCE(ctx.tlb_gen, next_tlb_gen);
    }
    yield* load_new_mm_cr3(next, asid, need_flush);
    yield* WRITE_ONCE(own.loaded_mm_asid, asid);
  } else {
    yield* load_swapper_cr3();
  }
  yield* WRITE_ONCE(own.loaded_mm, next?.id ?? INIT_MM);
});

/**
 * A kernel thread borrows the address space that is loaded. Flushes of leaf entries leave this CPU alone from
 * now on; it may use what it has cached of page tables all the same, so that a flush which frees tables
 * must not (M3.8).
 */
export const enter_lazy_tlb = fn(function* enter_lazy_tlb(kernel: Kernel): Steps<void> {
  const own = this_cpu(kernel);
  if ((yield* READ_ONCE(own.loaded_mm)) === INIT_MM) return;
  yield* WRITE_ONCE(own.is_lazy, 1);
});
