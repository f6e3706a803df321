import { fn } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Word } from '../../machine/memory.ts';
import { spin_until } from '../../machine/ops/control.ts';
import type { Steps } from '../../machine/op.ts';
import { mutex_lock, mutex_unlock } from '../../machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../machine/ops/memory.ts';
import { smp_rmb, smp_wmb } from '../../machine/ops/store-buffer.ts';
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
 * the range any more. One message at a time, under a mutex; messages are numbered, and so are their answers.
 * Why numbers: an answer stays where it is, and the one to the last message must not be taken for the next's.
 * Needs of the core: methods are called where sleeping is allowed (SRCU, and no page-table lock), and told
 * when it is not.
 *
 * Follows what XPMEM's authors asked of the notifiers (linux-mm, 2008); the driver is out of tree.
 */
export interface Xpmem extends SecondaryMmu {
  readonly mutex: Word;
  /** What the message is about, and its number: the number says that the rest is there. */
  readonly start: Word;
  readonly end: Word;
  readonly request: Word;
  /** The number of the last message that was answered. */
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
    start: word('start'),
    end: word('end'),
    request: word('request'),
    answer: word('answer'),
  });
}

/** Sleeps until the message has been answered. */
export const wait_for_answer = fn(
  function* wait_for_answer(xpmem: Xpmem, message: number): Steps<void> {
    yield* spin_until([xpmem.answer], (answer) => answer === message);
  },
  { hidden: true, protects: { what: 'the wait for the answer of the other side' } },
);

/** Asks the other side to drop the range, and sleeps until it has. */
export const xpmem_invalidate = fn(function* xpmem_invalidate(
  xpmem: Xpmem,
  start: number,
  end: number,
): Steps<void> {
  yield* mutex_lock(xpmem.mutex);
  yield* WRITE_ONCE(xpmem.start, start);
  yield* WRITE_ONCE(xpmem.end, end);
  const message = (yield* READ_ONCE(xpmem.request)) + 1;
  yield* smp_wmb(); // the range before the number
  yield* WRITE_ONCE(xpmem.request, message);
  yield* wait_for_answer(xpmem, message);
  yield* mutex_unlock(xpmem.mutex);
});

/** The other side drops what the message asks for, and says so. */
const answer_message = fn(
  function* answer_message(xpmem: Xpmem, message: number): Steps<void> {
    yield* smp_rmb();
    const start = yield* READ_ONCE(xpmem.start);
    const end = yield* READ_ONCE(xpmem.end);
    for (const addr of xpmem.mm.mapped) {
      if (addr >= start && addr < end) yield* clear_spte(xpmem, addr);
    }
    yield* flush_secondary_tlb(xpmem);
    yield* WRITE_ONCE(xpmem.answer, message);
  },
  { hidden: true },
);

/** The other side: answers so many messages. */
export const xpmem_partition = fn(function* xpmem_partition(
  xpmem: Xpmem,
  messages: number = 1,
): Steps<void> {
  for (let last = 0, answered = 0; answered < messages; answered++) {
    last = yield* next_message(xpmem, last);
    yield* answer_message(xpmem, last);
  }
});

/** Sleeps until there is another message than the last. */
const next_message = fn(
  function* next_message({ request }: Xpmem, last: number): Steps<number> {
    return yield* spin_until([request], (message) => message !== last);
  },
  { hidden: true },
);

export function xpmem_ops(xpmem: Xpmem): MmuNotifierOps {
  return Object.freeze({
    *invalidate_range_start(_mn: MmuNotifier, { start, end, blockable }) {
      if (!blockable) return false;
      yield* xpmem_invalidate(xpmem, start, end);
      return true;
    },
  } satisfies MmuNotifierOps);
}
