// A CPU has few tags for address spaces.  What must happen when one goes to another address space?
// linux v6.12 arch/x86/mm/tlb.c, choose_new_asid(); specification 4.1 and 4.4.
import { fails, fn, only, patch, returned, safe, scenario } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  READ_ONCE,
  choose_new_asid,
  context_switch,
  flush_tlb_page,
  folio_put,
  kernel_of,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  type Kernel,
  type Mm,
  type Ptep,
  type TlbContext,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly third: Mm;
  readonly ptep: Ptep;
}

/** CPU0 has two tags, and a third address space comes; then the first one again. */
const switch_about = fn(
  function* switch_about({ kernel, mm, third }: State) {
    yield* context_switch(kernel, third);
    yield* context_switch(kernel, mm);
  },
  { hidden: true },
);

/** The first one comes again, and nobody has had its tag. */
const come_back = fn(
  function* come_back({ kernel, mm }: State) {
    yield* context_switch(kernel, mm);
  },
  { hidden: true },
);

/** Unmaps a page of the first one. */
const unmap_page = fn(function* unmap_page({ mm, ptep }: State) {
  const pte = yield* ptep_get_and_clear(ptep);
  yield* flush_tlb_page(mm, ADDR);
  yield* folio_put(pte_page(pte));
});

export default scenario<State>('tag-recycling', {
  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }, { on: ['CPU1'], ran_on: ['CPU0'] });
    new_mm(m, 'second', { [ADDR]: new_page(m, 'Y') }, { on: ['CPU0'] });
    const third = new_mm(m, 'third', { [ADDR]: new_page(m, 'Z') }, { on: [] });
    return { kernel: kernel_of(m), mm, third, ptep: pte_off(m, mm, ADDR) };
  },

  run: { CPU0: switch_about, CPU1: unmap_page },

  sometimes: {
    'a tag is recycled': only(
      ['ctx_id', 'ctx_id, tso'],
      returned(choose_new_asid, ({ asid, need_flush }) => asid === 0 && need_flush),
    ),
    'the tag of the third stays with it': only(
      ['ctx_id', 'ctx_id, tso'],
      returned(choose_new_asid, ({ asid }) => asid === 1),
    ),
    'what was cached is kept': only(
      ['come back', 'no generation'],
      returned(choose_new_asid, ({ need_flush }) => !need_flush),
    ),
  },

  variants: {
    ctx_id: safe(),
    'ctx_id, tso': safe({ model: 'tso' }),
    // What the first one has cached is used for the third.
    'recycled without a flush': fails('stale-translation', {
      patches: [
        patch(choose_new_asid, function* (own, next, next_tlb_gen) {
          const chosen = yield* choose_new_asid.body(own, next, next_tlb_gen);
          const owner = yield* READ_ONCE((own.ctxs[chosen.asid] as TlbContext).ctx_id);
          return owner === next.id ? chosen : { ...chosen, need_flush: false };
        }),
      ],
    }),
    // It is its own tag still, and what it has cached is too old.
    'no generation': fails('stale-translation', {
      run: { CPU0: come_back, CPU1: unmap_page },
      patches: [
        patch(choose_new_asid, function* (own, next, next_tlb_gen) {
          const chosen = yield* choose_new_asid.body(own, next, next_tlb_gen);
          const owner = yield* READ_ONCE((own.ctxs[chosen.asid] as TlbContext).ctx_id);
          return owner === next.id ? { ...chosen, need_flush: false } : chosen;
        }),
      ],
    }),
    'come back': safe({ run: { CPU0: come_back, CPU1: unmap_page } }),
  },
});
