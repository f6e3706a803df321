import { fn, leaf, smp_processor_id } from '../../../machine/fn.ts';
import type { Word } from '../../../machine/memory.ts';
import type { Steps } from '../../../machine/op.ts';
import { READ_ONCE, WRITE_ONCE, add_in_two_steps, add_word } from '../../../machine/ops/memory.ts';
import {
  local_irq_restore,
  local_irq_save,
  preempt_disable,
  preempt_enable,
} from '../../../machine/ops/processor.ts';
import { smp_rmb } from '../../../machine/ops/store-buffer.ts';
import { invalidate_local } from '../../../machine/ops/tlb.ts';
import { smp_call_function_many } from '../../kernel/smp.ts';
import type { Kernel, Mm, PerCpu, TlbContext } from '../../mm/types.ts';
import { switch_mm_irqs_off } from './switch-mm.ts';
import {
  LOADED_MM_SWITCHING,
  TLB_FLUSH_ALL,
  TLB_GENERATION_INVALID,
  this_cpu,
} from './tlbstate.ts';

/**
 * TLB shootdown by interrupt.
 *
 * Guarantee: when x86_flush_tlb_mm_range() returns, every CPU that runs the address space has invalidated
 * the range, or will before it next uses the address space.
 * Mechanism: the generation of the address space is raised after the entries were changed, then the mask of
 * CPUs is read, then each of those that need it takes an interrupt and catches up with the generation. A
 * CPU that starts running the address space sets its mask bit before it reads the generation, so either
 * it is in the mask or it sees the new generation.
 * Why it suffices for walkers with interrupts off too: the interrupt is not taken, so the flush does not
 * return, before they are done. It holds only for CPUs that get the interrupt: see kvm.ts.
 *
 * Follows linux v6.12 arch/x86/mm/tlb.c (flush_tlb_mm_range, native_flush_tlb_multi, flush_tlb_func).
 */

/** struct flush_tlb_info. */
export interface FlushInfo {
  readonly kernel: Kernel;
  /** null: whatever the CPU has loaded. */
  readonly mm: Mm | null;
  readonly start: number;
  /** Or TLB_FLUSH_ALL. */
  readonly end: number;
  /** Or TLB_GENERATION_INVALID. */
  readonly new_tlb_gen: number;
  readonly freed_tables: boolean;
}

/** INVLPG over the range; it drops the walk-cache entries on the way as well. */
const invlpg_range = leaf(function* invlpg_range(mm: Mm, info: FlushInfo): Steps<void> {
  yield* invalidate_local(mm.pgd, info.start, info.end, true);
});

/** A CR3 write: drops everything of the address space. */
const flush_tlb_local = leaf(function* flush_tlb_local(mm: Mm): Steps<void> {
  yield* invalidate_local(mm.pgd, null, null, true);
});

/** A flush whose generation this CPU has reached already; one without a generation never is (M4.6). */
export const is_covered = fn(
  function* is_covered(info: FlushInfo, local_tlb_gen: number): Steps<boolean> {
    return info.new_tlb_gen !== TLB_GENERATION_INVALID && info.new_tlb_gen <= local_tlb_gen;
  },
  { hidden: true },
);

/** A partial flush must be all that this CPU has missed, and all that there is to miss. */
export const is_partial_enough = fn(
  function* is_partial_enough(
    info: FlushInfo,
    local_tlb_gen: number,
    mm_tlb_gen: number,
  ): Steps<boolean> {
    const { end, new_tlb_gen } = info;
    return end !== TLB_FLUSH_ALL && new_tlb_gen === local_tlb_gen + 1 && new_tlb_gen === mm_tlb_gen;
  },
  {
    hidden: true,
    protects: {
      what: 'the condition of a partial flush',
      without: function* ({ end }) {
        return end !== TLB_FLUSH_ALL;
      },
    },
  },
);

/** Brings this CPU up to the address space's generation. Runs with interrupts off. */
export const flush_tlb_func = fn(
  function* flush_tlb_func(info: FlushInfo): Steps<void> {
    const own = this_cpu(info.kernel);
    const loaded = yield* READ_ONCE(own.loaded_mm);
    if (info.mm && loaded !== info.mm.id) return;
    const mm = info.kernel.mms.get(loaded);
    if (!mm) return; // init_mm
    if (yield* READ_ONCE(own.is_lazy)) {
      yield* switch_mm_irqs_off(info.kernel, null); // once, instead of one interrupt after the other
      return;
    }
    const ctx = own.ctxs[yield* READ_ONCE(own.loaded_mm_asid)] as TlbContext;
    const local_tlb_gen = yield* READ_ONCE(ctx.tlb_gen);
    if (yield* is_covered(info, local_tlb_gen)) return; // a later flush has covered this one
    const mm_tlb_gen = yield* READ_ONCE(mm.tlb_gen);
    if (local_tlb_gen === mm_tlb_gen) return;
    if (yield* is_partial_enough(info, local_tlb_gen, mm_tlb_gen)) {
      yield* invlpg_range(mm, info);
    } else {
      yield* flush_tlb_local(mm);
    }
    yield* WRITE_ONCE(ctx.tlb_gen, mm_tlb_gen);
  },
  { protects: { what: 'flush_tlb_func()' } },
);

/**
 * Does this CPU need the interrupt for leaf entries? Lazy CPUs catch up when they stop being lazy. One that
 * is switching may have read the generation before it was raised, so it does.
 */
export const should_flush_tlb = fn(function* should_flush_tlb(
  cpu: PerCpu,
  info: FlushInfo,
): Steps<boolean> {
  const loaded = yield* READ_ONCE(cpu.loaded_mm);
  yield* smp_rmb(); // is_lazy at least as new as loaded_mm
  if (yield* READ_ONCE(cpu.is_lazy)) return false;
  if (!info.mm) return true;
  return loaded === LOADED_MM_SWITCHING || loaded === info.mm.id;
});

/** Interrupts the CPUs in the mask and waits for them. Freed tables concern lazy CPUs as well. */
export const native_flush_tlb_multi = fn(function* native_flush_tlb_multi(
  mask: readonly number[],
  info: FlushInfo,
): Steps<void> {
  const targets: number[] = [];
  for (const cpu of mask) {
    const other = info.kernel.cpus[cpu] as PerCpu;
    if (info.freed_tables || (yield* should_flush_tlb(other, info))) targets.push(cpu);
  }
  yield* smp_call_function_many(targets, flush_tlb_func, info);
});

/** pv_ops.mmu.flush_tlb_multi: native unless a hypervisor's guest replaces it. */
export const flush_tlb_multi = fn(function* flush_tlb_multi(
  mask: readonly number[],
  info: FlushInfo,
): Steps<void> {
  yield* native_flush_tlb_multi(mask, info);
});

/** inc_mm_tlb_gen(): after the entries were changed, before the mask is read. A full barrier. */
export const inc_mm_tlb_gen = leaf(
  function* inc_mm_tlb_gen(mm: Mm): Steps<number> {
    return (yield* add_word(mm.tlb_gen, 1)) + 1;
  },
  {
    protects: {
      what: 'the atomicity of inc_mm_tlb_gen()',
      without: function* ({ tlb_gen }) {
        return (yield* add_in_two_steps(tlb_gen, 1)) + 1;
      },
    },
  },
);

/** mm_cpumask(mm): one word per CPU, so that setting a bit and reading another are not a conflict. */
export const mm_cpumask = fn(function* mm_cpumask(mm: Mm): Steps<number[]> {
  const mask: number[] = [];
  for (const cpu of mm.cpumask.keys())
    if (yield* READ_ONCE(mm.cpumask[cpu] as Word)) mask.push(cpu);
  return mask;
});

export const x86_flush_tlb_mm_range = fn(function* flush_tlb_mm_range(
  mm: Mm,
  start: number,
  end: number,
  freed_tables: boolean,
): Steps<void> {
  const self = smp_processor_id();
  yield* preempt_disable(); // get_cpu(): the local flush below must be this CPU's
  const new_tlb_gen = yield* inc_mm_tlb_gen(mm);
  const { kernel } = mm;
  const info: FlushInfo = Object.freeze({ kernel, mm, start, end, new_tlb_gen, freed_tables });
  const mask = yield* mm_cpumask(mm);
  const others = mask.filter((cpu) => cpu !== self);
  if (others.length > 0) yield* flush_tlb_multi(others, info);
  if (mask.includes(self)) {
    const flags = yield* local_irq_save();
    yield* flush_tlb_func(info);
    yield* local_irq_restore(flags);
  }
  yield* preempt_enable();
});
