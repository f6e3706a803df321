import { fn, type AnyFn } from '../../machine/fn.ts';
import { smp_processor_id } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { preempt_disable, preempt_enable } from '../../machine/ops/processor.ts';
import { csd_lock_wait, send_ipi } from '../../machine/ops/processor.ts';

/**
 * Calling a function on other CPUs.
 *
 * Guarantee: when it returns, `handler` has run on every target, and each target was outside any region
 * with interrupts off at that moment.
 * Mechanism: one interrupt per target, sent one after the other, then waiting for each handler. A target
 * with interrupts off takes its interrupt when it turns them on again; so does a descheduled vCPU when it
 * runs again.
 * Assumes: the caller has interrupts on. Two callers with interrupts off wait for each other (M4.15).
 *
 * Follows linux v6.12 kernel/smp.c, smp_call_function_many_cond() with wait.
 */
export const smp_call_function_many = fn(
  function* smp_call_function_many(
    cpus: readonly number[],
    handler: AnyFn,
    ...args: unknown[]
  ): Steps<void> {
    const self = smp_processor_id();
    const sent: number[] = [];
    yield* preempt_disable(); // the caller must stay on its CPU, or "every other CPU" changes meaning
    for (const cpu of cpus) {
      if (cpu !== self) sent.push(yield* send_ipi(cpu, handler, args));
    }
    for (const handling of sent) yield* csd_lock_wait(handling);
    yield* preempt_enable();
  },
  { onBehalf: true },
);
