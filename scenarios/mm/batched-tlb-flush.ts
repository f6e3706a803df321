// Reclaim clears entries of many pages and flushes once, for no address space and no generation in particular.
// Does everybody catch up who must?  linux v6.12 arch/x86/mm/tlb.c; 8f1d56f64f8d "x86/mm/tlb: Ignore
// f->new_tlb_gen when zero"; specification 4.2, 4.3 and M4.6.
import { entered, fails, fn, nop, patch, safe, scenario, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  TLB_FLUSH_ALL,
  arch_tlbbatch_add_pending,
  arch_tlbbatch_flush,
  context_switch,
  flush_tlb_func,
  flush_tlb_page,
  folio_put,
  inc_mm_tlb_gen,
  is_covered,
  is_partial_enough,
  kernel_of,
  new_batch,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  type Kernel,
  type Mm,
  type Ptep,
} from 'gracewalk/linux';

const X = 0x1000;
const Y = 0x2000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly ptepX: Ptep;
  readonly ptepY: Ptep;
}

/** shrink_folio_list() for one page: it is freed after the flush of the batch. */
const reclaim = fn(function* shrink_folio_list({ kernel, mm, ptepX }: State): Steps<void> {
  const batch = new_batch(kernel);
  const pte = yield* ptep_get_and_clear(ptepX);
  yield* arch_tlbbatch_add_pending(batch, mm);
  yield* arch_tlbbatch_flush(batch);
  yield* folio_put(pte_page(pte));
});

/** Between the two halves of the flush of X comes the flush of Y alone. */
const interleaved = fn(function* interleaved({ kernel, mm, ptepX, ptepY }: State): Steps<void> {
  const batch = new_batch(kernel);
  const pteX = yield* ptep_get_and_clear(ptepX);
  yield* arch_tlbbatch_add_pending(batch, mm);
  const pteY = yield* ptep_get_and_clear(ptepY);
  yield* flush_tlb_page(mm, Y);
  yield* arch_tlbbatch_flush(batch);
  yield* folio_put(pte_page(pteX));
  yield* folio_put(pte_page(pteY));
});

/** A thread of the same process is next: interrupts are off for a moment. */
const run_next = fn(function* run_next({ kernel, mm }: State): Steps<void> {
  yield* context_switch(kernel, mm);
});

const INTERLEAVED = { CPU0: run_next, CPU1: interleaved };

export default scenario<State>('batched-tlb-flush', {
  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const pages = { [X]: new_page(m, 'X'), [Y]: new_page(m, 'Y') };
    const mm = new_mm(m, 'mm', pages, { on: ['CPU0'] }); // CPU1 runs kswapd
    const kernel = kernel_of(m);
    return { kernel, mm, ptepX: pte_off(m, mm, X), ptepY: pte_off(m, mm, Y) };
  },

  run: { CPU0: run_next, CPU1: reclaim },

  sometimes: {
    'a CPU is interrupted': entered('IPI: flush_tlb_func', flush_tlb_func),
  },

  variants: {
    running: safe(),
    'running, tso': safe({ model: 'tso' }),
    lazy: safe({
      run: {
        *CPU0({ kernel, mm }) {
          yield* context_switch(kernel, null);
          yield* context_switch(kernel, mm);
        },
        CPU1: reclaim,
      },
    }),
    // "No generation" is the lowest number there is.
    '0 is an old generation': fails('stale-translation', {
      patches: [
        patch(is_covered, function* (info, local_tlb_gen) {
          return info.new_tlb_gen <= local_tlb_gen;
        }),
      ],
      shows: ['M4.6'],
    }),
    'generation not raised': fails('stale-translation', { patches: [patch(inc_mm_tlb_gen, nop)] }),
    'two generations at once': safe({ run: INTERLEAVED }),
    // The flush of Y brings the CPU up to a generation whose other half it has not flushed.
    'partial, two generations at once': fails('stale-translation', {
      run: INTERLEAVED,
      patches: [
        patch(is_partial_enough, function* ({ end }) {
          return end !== TLB_FLUSH_ALL;
        }),
      ],
    }),
  },
});
