// Two CPUs flush at the same time, each with interrupts off.  Who handles the interrupts?
// linux v6.12 kernel/smp.c, the warning in smp_call_function_many_cond(); specification 4.7, M4.15.
import { entered, fails, fn, safe, scenario } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  flush_tlb_func,
  flush_tlb_page,
  local_irq_restore,
  local_irq_save,
  new_mm,
  new_page,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
}

const flush = fn(function* flush({ mm }: State) {
  yield* flush_tlb_page(mm, ADDR);
});

const flush_irqs_off = fn(function* flush_irqs_off({ mm }: State) {
  const flags = yield* local_irq_save();
  yield* flush_tlb_page(mm, ADDR);
  yield* local_irq_restore(flags);
});

export default scenario<State>('flush-with-irqs-off', {
  machine: x86_64({ cpus: 2 }),
  setup: (m) => ({ mm: new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }) }),

  run: { CPU0: flush, CPU1: flush },

  sometimes: {
    'CPU0 is interrupted': entered('IPI: flush_tlb_func', flush_tlb_func),
  },

  variants: {
    'interrupts on': safe(),
    'interrupts off on one': safe({ run: { CPU0: flush_irqs_off, CPU1: flush } }),
    'interrupts off on both': fails('deadlock', {
      run: { CPU0: flush_irqs_off, CPU1: flush_irqs_off },
      shows: ['M4.15'],
    }),
  },
});
