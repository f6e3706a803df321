import { fn } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Word } from '../../machine/memory.ts';
import { spin_until } from '../../machine/ops/control.ts';
import type { Steps } from '../../machine/op.ts';
import { mutex_lock, mutex_unlock } from '../../machine/ops/locks.ts';
import { WRITE_ONCE } from '../../machine/ops/memory.ts';
import type { MmuNotifier, MmuNotifierOps } from '../mm/mmu_notifier-types.ts';
import type { Mm } from '../mm/types.ts';
import {
  clear_spte,
  flush_secondary_tlb,
  new_secondary_mmu,
  type SecondaryMmu,
  type SecondaryOptions,
} from './secondary-mmu.ts';

/**
 * A subscriber on another machine: invalidating takes a message and its answer, so it sleeps.
 *
 * Guarantee and mechanism: invalidate_range_start() returns when the other side has said that it uses nothing of
 * the range any more. One message at a time, under a mutex.
 * Needs of the core: methods are called where sleeping is allowed (SRCU, and no page-table lock), and told
 * when it is not.
 *
 * Follows what XPMEM's authors asked of the notifiers (linux-mm, 2008); the driver is out of tree.
 */
export interface Xpmem extends SecondaryMmu {
  readonly mutex: Word;
  readonly request: Word;
  readonly answer: Word;
}

export function new_xpmem(
  machine: Machine,
  mm: Mm,
  name: string,
  options: SecondaryOptions = {},
): Xpmem {
  const word = (field: string): Word => machine.memory.variable(`${name}->${field}`);
  return Object.freeze({
    ...new_secondary_mmu(machine, mm, name, options),
    mutex: word('mutex'),
    request: word('request'),
    answer: word('answer'),
  });
}

/** Asks the other side to drop everything, and sleeps until it has. */
export const xpmem_invalidate = fn(function* xpmem_invalidate(xpmem: Xpmem): Steps<void> {
  yield* mutex_lock(xpmem.mutex);
  yield* WRITE_ONCE(xpmem.request, 1);
  yield* spin_until([xpmem.answer], (answer) => answer === 1);
  yield* mutex_unlock(xpmem.mutex);
});

/** The other side: answers one message. */
export const xpmem_partition = fn(function* xpmem_partition(
  xpmem: Xpmem,
  addr: number,
): Steps<void> {
  yield* spin_until([xpmem.request], (request) => request === 1);
  yield* clear_spte(xpmem, addr);
  yield* flush_secondary_tlb(xpmem);
  yield* WRITE_ONCE(xpmem.answer, 1);
});

export function xpmem_ops(xpmem: Xpmem): MmuNotifierOps {
  return Object.freeze({
    *invalidate_range_start(_mn: MmuNotifier, { blockable }) {
      if (!blockable) return false;
      yield* xpmem_invalidate(xpmem);
      return true;
    },
  } satisfies MmuNotifierOps);
}
