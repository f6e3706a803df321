import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { broadcast_complete, broadcast_issue } from '../../../machine/ops/tlb.ts';
import type { FlushInfo } from './tlb.ts';

/**
 * Flushes that the processors perform for each other.
 *
 * Guarantee: when TLBSYNC is over, no CPU has anything of the range cached for the address space.
 * Mechanism: INVLPGB tells every CPU, whatever it runs; TLBSYNC waits for all that this CPU has issued. The
 * address space has the same tag on all CPUs (a global ASID).
 * What it is NOT: a wait for software, as on every architecture whose flushes are broadcast.
 *
 * Follows linux v6.15 arch/x86/mm/tlb.c (broadcast_tlb_flush) and arch/x86/include/asm/tlb.h.
 */
const invlpgb_flush_user_nr_nosync = leaf(function* invlpgb_flush_user_nr_nosync(
  info: FlushInfo,
): Steps<void> {
  yield* broadcast_issue(info.mm?.pgd ?? null, info.start, info.end, true);
});

const tlbsync = leaf(
  function* tlbsync(info: FlushInfo): Steps<void> {
    yield* broadcast_complete(info.mm?.pgd ?? null, info.start, info.end, true);
  },
  { protects: { what: 'tlbsync()' } },
);

/** For the other CPUs; this one has its local flush. */
export const broadcast_tlb_flush = fn(function* broadcast_tlb_flush(
  _cpus: readonly number[],
  info: FlushInfo,
): Steps<void> {
  yield* invlpgb_flush_user_nr_nosync(info);
  yield* tlbsync(info);
});
