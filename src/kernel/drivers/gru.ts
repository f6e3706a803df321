import { counts_open } from '../../machine/balance.ts';
import { fn, leaf } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Entry, Page, Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import {
  READ_ONCE,
  add_word,
  cmpxchg_entry,
  write_entry,
  xchg_entry,
} from '../../machine/ops/memory.ts';
import { AGAIN, retry } from '../../machine/ops/retry.ts';
import { smp_rmb } from '../../machine/ops/store-buffer.ts';
import { no } from '../../machine/protection.ts';
import { get_user_pages_unlocked } from '../mm/gup-slow.ts';
import type { MmuNotifier, MmuNotifierOps, MmuNotifierRange } from '../mm/mmu_notifier-types.ts';
import { folio_put } from '../mm/page-ref.ts';
import type { Mm } from '../mm/types.ts';
import {
  clear_spte,
  flush_secondary_tlb,
  mk_spte,
  new_secondary_mmu,
  spte_at,
  type SecondaryMmu,
} from './secondary-mmu.ts';

/**
 * A subscriber with a TLB and no tables: each miss is resolved by a processor, which drops one translation in.
 *
 * Guarantee: the device uses a page only while the primary MMU maps it.
 * Mechanism: a miss is pending in the device (its fault handle) until a translation is dropped in. A flush
 * cancels what is pending as well as what is there, so a dropin that was prepared before the flush fails; while
 * a range is active nothing is prepared at all.
 * Why both: cancelling covers an invalidation that begins after the handle was read, the count one that has begun
 * before and has not changed its entries yet.
 * Not there: anything to age or to free. Its table here is the TLB itself.
 *
 * Follows linux v6.12 drivers/misc/sgi-gru (grufault.c, grutlbpurge.c).
 */
export interface Gru extends SecondaryMmu {
  readonly ms_range_active: Word;
}

export function new_gru(machine: Machine, mm: Mm, name: string): Gru {
  const ms_range_active = counts_open(machine, machine.memory.variable(`${name}->ms_range_active`));
  machine.specialEntries.set(MISS.bits, 'pending');
  return Object.freeze({ ...new_secondary_mmu(machine, mm, name), ms_range_active });
}

/** A translation that is not there and was asked for. */
export const MISS: Entry = Object.freeze({
  bits: 0x800n,
  generation: 0,
  present: false,
  table: false,
  none: false,
  writable: false,
  frame: -1,
});

/** The device misses `addr`: the handle says so. The device writes it, through no processor's store buffer. */
export const tfh_pending = leaf(function* tfh_pending(gru: Gru, addr: number): Steps<void> {
  yield* xchg_entry(spte_at(gru, addr), MISS);
});

/** tfh_write_restart(): drops the translation in, unless the miss was cancelled meanwhile. */
export const tfh_write_restart = leaf(
  function* tfh_write_restart(gru: Gru, addr: number, page: Page): Steps<boolean> {
    return yield* cmpxchg_entry(spte_at(gru, addr), MISS, mk_spte(gru, page));
  },
  {
    protects: {
      what: 'the cancelling of a pending miss',
      *without(gru, addr, page) {
        yield* write_entry(spte_at(gru, addr), mk_spte(gru, page));
        return true;
      },
    },
  },
);

/** Is somebody invalidating? Then nothing is looked up. */
export const gru_range_active = fn(
  function* gru_range_active(gru: Gru): Steps<boolean> {
    return (yield* READ_ONCE(gru.ms_range_active)) !== 0;
  },
  { hidden: true, protects: { what: 'the look at ms_range_active', without: no } },
);

/** gru_try_dropin(): resolves a miss. `false`: there is no page. */
export const gru_try_dropin = fn(function* gru_try_dropin(gru: Gru, addr: number): Steps<boolean> {
  return yield* retry(function* () {
    yield* tfh_pending(gru, addr);
    yield* smp_rmb(); // the handle before the count
    if (yield* gru_range_active(gru)) return AGAIN;
    const page = yield* get_user_pages_unlocked(gru.mm, addr);
    if (!page) return false;
    yield* folio_put(page); // no reference is kept
    return (yield* tfh_write_restart(gru, addr, page)) ? true : AGAIN;
  });
});

const range_active_add = leaf(function* range_active_add(gru: Gru, change: 1 | -1): Steps<void> {
  yield* add_word(gru.ms_range_active, change);
});

export const gru_invalidate_range_start = fn(function* gru_invalidate_range_start(
  gru: Gru,
  { start, end }: MmuNotifierRange,
): Steps<boolean> {
  yield* range_active_add(gru, 1);
  for (const addr of gru.mm.mapped) {
    if (addr >= start && addr < end) yield* clear_spte(gru, addr);
  }
  yield* flush_secondary_tlb(gru);
  return true;
});

export function gru_ops(gru: Gru): MmuNotifierOps {
  return Object.freeze({
    invalidate_range_start: (_mn: MmuNotifier, range: MmuNotifierRange) =>
      gru_invalidate_range_start(gru, range),
    invalidate_range_end: () => range_active_add(gru, -1),
  });
}
