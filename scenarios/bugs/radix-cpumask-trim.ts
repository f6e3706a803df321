// A CPU is taken out of mm_cpumask() by another one.  linux arch/powerpc, 2020.
import {
  entered,
  fails,
  fn,
  leaf,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Steps,
  type Word,
} from 'gracewalk';
import { powerpc_radix } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  folio_put,
  invalidate_local,
  load_root,
  local_irq_restore,
  local_irq_save,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  smp_call_function_many,
  smp_mb,
  user_load,
  type Mm,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly ptep: Ptep;
  /** Does CPU1 use the address space (current->mm, or kthread_use_mm())? */
  readonly in_use: Word;
}

const tlbiel = leaf(function* tlbiel(mm: Mm): Steps<void> {
  yield* invalidate_local(mm.pgd, ADDR, ADDR + PAGE_SIZE, true);
});

const do_flush = fn(function* do_flush(mm: Mm): Steps<void> {
  yield* tlbiel(mm);
});

const load_pid = leaf(function* load_pid(root: number): Steps<void> {
  yield* load_root(root, true);
});

/** On a CPU that may be trimmed: only itself knows whether it uses the address space at this moment. */
const do_exit_flush_lazy_tlb = fn(function* do_exit_flush_lazy_tlb(
  mm: Mm,
  in_use: Word,
): Steps<void> {
  if (yield* READ_ONCE(in_use)) return;
  yield* load_pid(0);
  yield* clear_own_bit(mm);
});

const clear_own_bit = fn(function* clear_own_bit(mm: Mm): Steps<void> {
  yield* WRITE_ONCE(mm.cpumask[1] as Word, 0);
});

/** After the round of interrupts: nothing is left to do, each CPU has cleared its own bit. */
const mm_reset_thread_local = fn(function* mm_reset_thread_local(_mm: Mm): Steps<void> {});

/** The address space has one thread: CPUs that only cached it may be forgotten. */
const exit_flush_lazy_tlbs = fn(function* exit_flush_lazy_tlbs({ mm, in_use }: State): Steps<void> {
  yield* smp_call_function_many([1], do_exit_flush_lazy_tlb, mm, in_use);
  yield* mm_reset_thread_local(mm);
});

const flush_tlb_page = fn(function* flush_tlb_page(mm: Mm): Steps<void> {
  yield* smp_mb(); // the entry is cleared before the mask is read
  const others = (yield* READ_ONCE(mm.cpumask[1] as Word)) ? [1] : [];
  yield* smp_call_function_many(others, do_flush, mm);
  yield* tlbiel(mm);
});

const zap_page = fn(function* zap_page({ mm, ptep }: State): Steps<void> {
  const pte = yield* ptep_get_and_clear(ptep);
  yield* flush_tlb_page(mm);
  yield* folio_put(pte_page(pte));
});

const kthread_use_mm = fn(function* kthread_use_mm({ mm, in_use }: State): Steps<void> {
  const flags = yield* local_irq_save();
  yield* WRITE_ONCE(in_use, 1);
  yield* WRITE_ONCE(mm.cpumask[1] as Word, 1);
  yield* smp_mb();
  yield* load_pid(mm.pgd);
  yield* local_irq_restore(flags);
});

export default scenario<State>('radix-cpumask-trim', {
  title: 'powerpc radix: a CPU is struck off the mask after it has come back',
  citation:
    'linux commit a665eec0a22e (the id is from memory), "powerpc/64s/radix: Fix mm_cpumask trimming race vs kthread_use_mm", 2020',
  story:
    'A process that has one thread left may forget the CPUs it once ran on, and flush locally from then on. The ' +
    'flushing CPU made the others drop the address space, and then cleared their bits itself. A kernel thread that ' +
    'adopted the address space in between, as io_uring does, had set its bit just before: it was struck off while it ' +
    'ran there, and no flush reached it. The cure lets every CPU clear its own bit, in the interrupt, if it does not ' +
    'use the address space.',

  machine: powerpc_radix({ cpus: 2 }),

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') });
    return { mm, ptep: pte_off(m, mm, ADDR), in_use: m.memory.variable('current->mm(CPU1)') };
  },

  run: {
    *CPU0(state) {
      yield* exit_flush_lazy_tlbs(state);
      yield* zap_page(state);
    },
    *CPU1(state) {
      yield* kthread_use_mm(state);
      return yield* user_load(state.mm, ADDR); // copy_from_user()
    },
  },

  sometimes: {
    'the page is still there': only(
      ['fixed'],
      returned(user_load, (value) => value !== null),
    ),
    'CPU1 is told of the flush': only(['fixed'], entered(null, do_flush)),
    'CPU1 is found in use, or not': entered(null, do_exit_flush_lazy_tlb),
  },

  variants: {
    buggy: fails(['stale-translation', 'use-after-free'], {
      shows: ['bug:radix-cpumask-trim'],
      patches: [
        patch(clear_own_bit, nop),
        patch(mm_reset_thread_local, function* (mm) {
          yield* WRITE_ONCE(mm.cpumask[1] as Word, 0);
        }),
      ],
    }),
    fixed: safe(),
  },
});
