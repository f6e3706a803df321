import { fn, leaf, smp_processor_id } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { READ_ONCE, WRITE_ONCE, add_in_two_steps, add_word } from '../../../machine/ops/memory.ts';
import {
  local_irq_restore,
  local_irq_save,
  preempt_disable,
  preempt_enable,
} from '../../../machine/ops/processor.ts';
import { invalidate_local } from '../../../machine/ops/tlb.ts';
import { smp_call_function_many } from '../../kernel/smp.ts';
import type { Kernel, Mm, PerCpu } from '../../mm/types.ts';

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
  readonly mm: Mm;
  readonly start: number;
  readonly end: number;
  readonly new_tlb_gen: number;
  readonly freed_tables: boolean;
}

export function this_cpu(kernel: Kernel): PerCpu {
  return kernel.cpus[smp_processor_id()] as PerCpu;
}

/** INVLPG over the range; it drops the walk-cache entries on the way as well. */
const invlpg_range = leaf(function* invlpg_range(info: FlushInfo): Steps<void> {
  yield* invalidate_local(info.mm.pgd, info.start, info.end, true);
});

/** A CR3 write: drops everything of the address space. */
const flush_tlb_local = leaf(function* flush_tlb_local(info: FlushInfo): Steps<void> {
  yield* invalidate_local(info.mm.pgd, null, null, true);
});

/** Brings this CPU up to the address space's generation. Runs with interrupts off. */
export const flush_tlb_func = fn(
  function* flush_tlb_func(info: FlushInfo): Steps<void> {
    const { mm } = info;
    const own = this_cpu(mm.kernel);
    if ((yield* READ_ONCE(own.loaded_mm)) !== mm.id) return;
    const local_tlb_gen = yield* READ_ONCE(own.tlb_gen);
    if (info.new_tlb_gen <= local_tlb_gen) return; // a later flush has covered this one
    const mm_tlb_gen = yield* READ_ONCE(mm.tlb_gen);
    if (local_tlb_gen === mm_tlb_gen) return;
    // A partial flush must not skip a generation that it does not cover.
    if (info.new_tlb_gen === local_tlb_gen + 1 && info.new_tlb_gen === mm_tlb_gen) {
      yield* invlpg_range(info);
    } else {
      yield* flush_tlb_local(info);
    }
    yield* WRITE_ONCE(own.tlb_gen, mm_tlb_gen);
  },
  { protects: { what: 'flush_tlb_func()' } },
);

/** Does this CPU need the interrupt for leaf entries? Lazy CPUs catch up when they stop being lazy. */
const should_flush_tlb = fn(function* should_flush_tlb(cpu: PerCpu, mm: Mm): Steps<boolean> {
  const loaded = yield* READ_ONCE(cpu.loaded_mm);
  if (yield* READ_ONCE(cpu.is_lazy)) return false;
  return loaded === mm.id;
});

/** Interrupts the CPUs in the mask and waits for them. Freed tables concern lazy CPUs as well. */
export const native_flush_tlb_multi = fn(function* native_flush_tlb_multi(
  mask: readonly number[],
  info: FlushInfo,
): Steps<void> {
  const targets: number[] = [];
  for (const cpu of mask) {
    const other = info.mm.kernel.cpus[cpu] as PerCpu;
    if (info.freed_tables || (yield* should_flush_tlb(other, info.mm))) targets.push(cpu);
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
const inc_mm_tlb_gen = leaf(
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
const mm_cpumask = fn(function* mm_cpumask(mm: Mm): Steps<number[]> {
  const mask: number[] = [];
  for (const [cpu, word] of mm.cpumask.entries()) if (yield* READ_ONCE(word)) mask.push(cpu);
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
  const info: FlushInfo = Object.freeze({ mm, start, end, new_tlb_gen, freed_tables });
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
