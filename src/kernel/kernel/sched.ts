import { fn, leaf } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { local_irq_restore, local_irq_save } from '../../machine/ops/processor.ts';
import { set_lazy } from '../../machine/ops/tlb.ts';
import { enter_lazy_tlb, switch_mm_irqs_off } from '../arch/x86/switch-mm.ts';
import type { Kernel, Mm } from '../mm/types.ts';

/**
 * What a context switch does to the address space.
 *
 * Guarantee: user code runs in its own address space, and a kernel thread in whichever is loaded.
 * Mechanism: a kernel thread has none and borrows the last one (lazy TLB mode): coming back to the same
 * process then costs nothing. Only a task of another process loads another.
 * Why it suffices: a kernel thread uses no user address, so it may hold stale translations of them; and so may
 * a CPU that is about to switch, which has left the mask of the old address space while its root is loaded.
 * Assumes: the borrowed address space is kept by a reference of the run queue (mm_count), not modelled.
 *
 * Follows linux v6.12 kernel/sched/core.c, context_switch(). Registers and stacks are left out: the task of a
 * scenario is whatever runs on its CPU.
 */

/** From here on the CPU executes no user code. */
const leave_user_mode = leaf(
  function* leave_user_mode(): Steps<void> {
    yield* set_lazy(true);
  },
  { event: 'leaves user mode' },
);

const exit_to_user_mode = leaf(
  function* exit_to_user_mode(): Steps<void> {
    yield* set_lazy(false);
  },
  { event: 'runs user code' },
);

/** The next task is one of `next`, or a kernel thread if it is null. */
export const context_switch = fn(function* context_switch(
  kernel: Kernel,
  next: Mm | null,
): Steps<void> {
  const flags = yield* local_irq_save(); // rq->lock
  yield* leave_user_mode();
  if (!next) {
    yield* enter_lazy_tlb(kernel);
  } else {
    yield* switch_mm_irqs_off(kernel, next);
  }
  yield* local_irq_restore(flags);
  if (next) yield* exit_to_user_mode();
});
