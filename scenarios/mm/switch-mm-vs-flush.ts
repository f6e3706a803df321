// A CPU comes back to an address space while another CPU flushes a page of it.  May it go on using what it
// cached when it last ran there?  linux v6.12.117 arch/x86/mm/tlb.c; fea4e317f9e7 "x86/mm: Eliminate window
// where TLB flushes may be inadvertently skipped", CVE-2025-37964, as it was backported; 83b0177a6c48
// "x86/mm: Fix SMP ordering in switch_mm_irqs_off()", CVE-2025-40174; specification section 4.
import {
  entered,
  fails,
  fn,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  LOADED_MM_SWITCHING,
  READ_ONCE,
  WRITE_ONCE,
  choose_new_asid,
  context_switch,
  cpumask_clear_cpu,
  cpumask_set_cpu,
  flush_tlb_func,
  flush_tlb_page,
  folio_put,
  kernel_of,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  should_flush_tlb,
  smp_mb,
  start_receiving_flushes,
  type Kernel,
  type Mm,
  type PerCpu,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly ptep: Ptep;
}

/** CPU0 has run the address space and switched away; is its bit in the mask still set? */
function setup(lazy_mask: boolean): (m: Machine) => State {
  return (m) => {
    const cpumask = lazy_mask ? ['CPU0', 'CPU1'] : ['CPU1'];
    const pages = { [ADDR]: new_page(m, 'X') };
    const mm = new_mm(m, 'mm', pages, { on: ['CPU1'], ran_on: ['CPU0'], cpumask });
    return { kernel: kernel_of(m), mm, ptep: pte_off(m, mm, ADDR) };
  };
}

/** CPU0 has switched from it to another process, and borrows the address space of that one at first. */
function from_lazy(m: Machine): State {
  const state = setup(true)(m);
  new_mm(m, 'other', { [ADDR]: new_page(m, 'Y') }, { on: ['CPU0'] });
  return state;
}

/** Unmaps a page, tables stay. */
const unmap_page = fn(function* unmap_page({ mm, ptep }: State) {
  const pte = yield* ptep_get_and_clear(ptep);
  yield* flush_tlb_page(mm, ADDR);
  yield* folio_put(pte_page(pte));
});

/** M4.1: the generation is read before a flush can find this CPU in the mask. */
const GENERATION_FIRST = patch(
  start_receiving_flushes,
  function* (own: PerCpu, _prev: Mm | undefined, next: Mm | null) {
    yield* WRITE_ONCE(own.loaded_mm, LOADED_MM_SWITCHING);
    const next_tlb_gen = yield* READ_ONCE((next as Mm).tlb_gen);
    yield* cpumask_set_cpu(own.cpu, next as Mm);
    return next_tlb_gen;
  },
);

/** M4.2 (a): a flush finds it in the mask, and it does not say yet that it is switching. */
const SWITCHING_LAST = patch(
  start_receiving_flushes,
  function* (own: PerCpu, prev: Mm | undefined, next: Mm | null) {
    if (prev) yield* cpumask_clear_cpu(own.cpu, prev);
    yield* cpumask_set_cpu(own.cpu, next as Mm);
    const next_tlb_gen = yield* READ_ONCE((next as Mm).tlb_gen);
    yield* WRITE_ONCE(own.loaded_mm, LOADED_MM_SWITCHING);
    return next_tlb_gen;
  },
);

/** smp_mb() of 83b0177a6c48, where the bit is set and no atomic operation is needed. */
const bit_is_set_mb = fn(
  function* bit_is_set_mb() {
    yield* smp_mb();
  },
  { hidden: true },
);

/** v6.14: bits stay set when a CPU switches away, so that most switches write no shared cache line. */
const LAZY_MASK = patch(
  start_receiving_flushes,
  function* (own: PerCpu, _prev: Mm | undefined, next: Mm | null) {
    const { cpumask, tlb_gen } = next as Mm;
    yield* WRITE_ONCE(own.loaded_mm, LOADED_MM_SWITCHING);
    if (yield* READ_ONCE(cpumask[own.cpu] as Word)) yield* bit_is_set_mb();
    else yield* cpumask_set_cpu(own.cpu, next as Mm);
    return yield* READ_ONCE(tlb_gen);
  },
);
const NO_MB = patch(bit_is_set_mb, nop);

/** Is this an old is_lazy beside a new loaded_mm? */
const is_mixture = fn(
  function* is_mixture(is_lazy: number, runs_or_switches: boolean) {
    return is_lazy === 1 && runs_or_switches;
  },
  { hidden: true },
);

/** M4.5: is_lazy is read before loaded_mm. */
const IS_LAZY_FIRST = patch(should_flush_tlb, function* (cpu, { mm }) {
  const is_lazy = yield* READ_ONCE(cpu.is_lazy);
  const loaded = yield* READ_ONCE(cpu.loaded_mm);
  const runs_or_switches = loaded === LOADED_MM_SWITCHING || loaded === mm?.id;
  yield* is_mixture(is_lazy, runs_or_switches);
  return !is_lazy && runs_or_switches;
});

const FROM_LAZY = {
  model: 'tso' as const,
  setup: from_lazy,
  run: {
    *CPU0({ kernel, mm }: State) {
      yield* context_switch(kernel, null);
      yield* context_switch(kernel, mm);
    },
    CPU1: unmap_page,
  },
};
const LAZY = { setup: setup(true), model: 'tso' } as const;

export default scenario<State>('switch-mm-vs-flush', {
  machine: x86_64({ cpus: 2 }),
  setup: setup(false),

  run: {
    CPU0: ({ kernel, mm }) => context_switch(kernel, mm),
    CPU1: unmap_page,
  },

  sometimes: {
    'what was cached is kept': returned(choose_new_asid, ({ need_flush }) => !need_flush),
    'what was cached is flushed': returned(choose_new_asid, ({ need_flush }) => need_flush),
    'the flush interrupts the switch': only(
      [
        'v6.12',
        'v6.12, tso',
        'v6.14, smp_mb',
        'v6.14, sc',
        'from lazy',
        'is_lazy first',
        'is_lazy first, sc',
      ],
      entered('IPI: flush_tlb_func', flush_tlb_func),
    ),
    'an old is_lazy is beside a new loaded_mm': only(
      ['is_lazy first', 'is_lazy first, sc', 'is_lazy first, no smp_mb'],
      returned(is_mixture, true),
    ),
  },

  variants: {
    'v6.12': safe({ shows: ['mm:C12'] }),
    'v6.12, tso': safe({ model: 'tso', shows: ['mm:C12'] }),
    'generation first': fails('stale-translation', {
      patches: [GENERATION_FIRST],
      shows: ['M4.1', 'L9', 'mm:C12'],
    }),
    'switching last': fails('stale-translation', {
      patches: [SWITCHING_LAST],
      shows: ['M4.2a', 'mm:C12'],
    }),
    'v6.14, smp_mb': safe({ ...LAZY, patches: [LAZY_MASK], shows: ['mm:C12'] }),
    'v6.14': fails('stale-translation', {
      ...LAZY,
      patches: [LAZY_MASK, NO_MB],
      shows: ['M4.2b', 'L10', 'mm:C12'],
    }),
    // Interleaving alone does not show it.
    'v6.14, sc': safe({ setup: setup(true), patches: [LAZY_MASK, NO_MB] }),
    'from lazy': safe({ ...FROM_LAZY, patches: [LAZY_MASK] }),
    // An equivalent mutant as long as the switch is right, and not the reason where it is not.
    'is_lazy first': safe({ ...FROM_LAZY, patches: [LAZY_MASK, IS_LAZY_FIRST], shows: ['M4.5'] }),
    'is_lazy first, sc': safe({
      ...FROM_LAZY,
      model: 'sc',
      patches: [LAZY_MASK, NO_MB, IS_LAZY_FIRST],
      shows: ['M4.5'],
    }),
    'is_lazy first, no smp_mb': fails('stale-translation', {
      ...FROM_LAZY,
      patches: [LAZY_MASK, NO_MB, IS_LAZY_FIRST],
      shows: ['M4.5', 'M4.2b'],
    }),
  },
});
