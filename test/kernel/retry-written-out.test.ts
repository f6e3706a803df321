import { describe, expect, test } from 'vitest';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { GracewalkError } from '../../src/base/errors.ts';
import { explore } from '../../src/explore/explore.ts';
import { new_page } from '../../src/kernel/boot.ts';
import { rcu_read_lock, rcu_read_unlock, synchronize_rcu } from '../../src/kernel/kernel/rcu.ts';
import { fn } from '../../src/machine/fn.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Page, Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { assume, spin_until } from '../../src/machine/ops/control.ts';
import { spin_lock, spin_trylock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, fetch_add, xchg } from '../../src/machine/ops/memory.ts';
import { page_ref_get, page_ref_put } from '../../src/machine/ops/pages.ts';
import {
  csd_lock_wait,
  local_irq_restore,
  local_irq_save,
  preempt_disable,
  preempt_enable,
  send_ipi,
} from '../../src/machine/ops/processor.ts';
import { AGAIN, retry } from '../../src/machine/ops/retry.ts';
import { bug_on } from '../../src/machine/ops/secondary.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { tasks } from '../zoo/tables.ts';

/** Each loop once as retry() and once written out, as three rounds: what the latter finds, the former must not miss. */
type Words = Readonly<Record<'x' | 'y' | 'z' | 'k' | 'l', Word>> & { readonly page: Page };
type Loop = (round: () => Steps<boolean>) => Steps<unknown>;
type Body = (w: Words, loop: Loop) => Steps<unknown>;
type Model = 'sc' | 'tso';

const tried: Loop = (round) =>
  retry(function* () {
    return (yield* round()) ? true : AGAIN;
  });

const writtenOut: Loop = function* (round) {
  for (let rounds = 0; rounds < 3; rounds++) if (yield* round()) return;
  yield* assume(false);
};

interface Found {
  /** Kinds of violations; `open` if there is more than was tried; or the code of a refusal. */
  readonly all: readonly string[];
  readonly runs: number;
}

function found(model: Model, loop: Loop, bodies: readonly Body[]): Found {
  const machine = new Machine({
    arch: x86_64_descriptor,
    model,
    cpus: ['CPU0', 'CPU1', 'CPU2'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const [x, y, z, k, l] = ['x', 'y', 'z', 'k', 'l'].map((name) =>
    machine.memory.variable(name),
  ) as [Word, Word, Word, Word, Word];
  const page = new_page(machine, 'P', 1);
  machine.objects.set(`kept:${page.frame}`, 1);
  machine.cells.settle();
  const program = tasks(
    machine,
    ...bodies.map((body) => () => body({ x, y, z, k, l, page }, loop)),
  );
  try {
    const { runs, bounded, violations } = explore(program);
    const kinds = new Set([...violations.values()].map(({ violation }) => violation.kind));
    return { all: [...kinds, ...(bounded > 0 ? ['open'] : [])], runs };
  } catch (error) {
    if (error instanceof GracewalkError) return { all: [error.code], runs: 0 };
    throw error;
  }
}

const is_1 = function* (word: Word): Steps<boolean> {
  return (yield* READ_ONCE(word)) === 1;
};
const set = (word: Word): Steps<void> => WRITE_ONCE(word, 1);
const a_round_is_over: Body = ({ y }) => spin_until([y], (value) => value === 1);
const must_be_free: Body = function* ({ l }) {
  const got = yield* spin_trylock(l);
  yield* bug_on(!got, 'l', 'somebody has it');
  if (got) yield* spin_unlock(l);
};
const takes_l_and_sets_x = fn(function* takes_l_and_sets_x(l: Word, x: Word): Steps<void> {
  yield* spin_lock(l);
  yield* set(x);
  yield* spin_unlock(l);
});
const sets_x = fn(function* sets_x(x: Word): Steps<void> {
  yield* set(x);
});

/** x and then k are looked at; they are set in this order. */
const torn = function* ({ x, k }: Words): Steps<boolean> {
  const before = yield* is_1(x);
  yield* bug_on(!before && (yield* is_1(k)), 'x', 'old x, new k');
  return before;
};
const holding_l = function* ({ l, x }: Words): Steps<boolean> {
  yield* spin_lock(l);
  const done = yield* is_1(x);
  yield* spin_unlock(l);
  return done;
};
const then_says_so =
  (round: (w: Words) => Steps<boolean>): Body =>
  (w, loop) =>
    loop(function* () {
      const done = yield* round(w);
      yield* set(w.y);
      return done;
    });

interface Case {
  readonly bodies: readonly Body[];
  /** Of the loop written out. */
  readonly written: readonly string[];
  readonly tried: readonly string[];
}

const CASES: Readonly<Record<string, Case>> = {
  'a round begins before the change, and what it reads then is from behind it': {
    bodies: [
      then_says_so(torn),
      function* (w, loop) {
        yield* a_round_is_over(w, loop);
        yield* set(w.x);
        yield* set(w.k);
      },
    ],
    written: ['property'],
    tried: ['property'],
  },
  'its store comes behind that of who has changed something': {
    bodies: [
      (w, loop) =>
        loop(function* () {
          const done = yield* is_1(w.x);
          if (!done) yield* set(w.z);
          yield* set(w.y);
          return done;
        }),
      function* (w, loop) {
        yield* a_round_is_over(w, loop);
        yield* set(w.x);
        yield* WRITE_ONCE(w.z, 0);
        yield* bug_on(yield* is_1(w.z), 'z', 'set again');
      },
    ],
    written: ['property'],
    tried: ['property'],
  },
  'it holds a lock that somebody tries who has waited for a round': {
    bodies: [
      then_says_so(holding_l),
      function* (w, loop) {
        yield* a_round_is_over(w, loop);
        yield* must_be_free(w, loop);
        yield* set(w.x);
      },
    ],
    written: ['property'],
    tried: ['property', 'open'],
  },
  'two locks in two orders, one of them behind a round': {
    bodies: [
      then_says_so(function* (w) {
        yield* spin_lock(w.l);
        yield* spin_lock(w.k);
        const done = yield* is_1(w.x);
        yield* spin_unlock(w.k);
        yield* spin_unlock(w.l);
        return done;
      }),
      function* (w, loop) {
        yield* a_round_is_over(w, loop);
        yield* spin_lock(w.k);
        yield* takes_l_and_sets_x(w.l, w.x);
        yield* spin_unlock(w.k);
      },
    ],
    written: ['deadlock'],
    tried: ['deadlock'],
  },
  "its own CPU's interrupt handler takes the lock": {
    bodies: [
      then_says_so(holding_l),
      function* (w, loop) {
        yield* a_round_is_over(w, loop);
        yield* csd_lock_wait(yield* send_ipi(0, takes_l_and_sets_x, [w.l, w.x]));
      },
    ],
    written: ['deadlock'],
    tried: ['deadlock'],
  },
  'who has met a round sets what the next one would read in part': {
    bodies: [
      (w, loop) =>
        loop(function* () {
          const done = yield* torn(w);
          yield* spin_lock(w.l);
          yield* spin_unlock(w.l);
          return done;
        }),
      function* (w) {
        const got = yield* spin_trylock(w.l);
        if (got) yield* spin_unlock(w.l);
        yield* set(w.x);
        if (!got) yield* set(w.k);
      },
    ],
    written: ['property'],
    tried: ['open'],
  },
  'somebody waits for what a round says for a moment': {
    bodies: [
      (w, loop) =>
        loop(function* () {
          yield* xchg(w.z, 1);
          const done = yield* is_1(w.x);
          yield* xchg(w.z, 0);
          yield* set(w.y);
          return done;
        }),
      function* (w, loop) {
        yield* a_round_is_over(w, loop);
        yield* spin_until([w.z], (value) => value === 1);
        yield* set(w.x);
      },
    ],
    written: [],
    tried: ['open'],
  },
  'it counts its rounds': {
    bodies: [
      (w, loop) =>
        loop(function* () {
          yield* fetch_add(w.z, 1);
          return yield* is_1(w.x);
        }),
      ({ x }) => set(x),
    ],
    written: [],
    tried: ['open'],
  },
  'a reference that each round takes and drops: somebody takes another': {
    bodies: [
      then_says_so(function* ({ page, x }) {
        yield* page_ref_get(page, false, null);
        const done = yield* is_1(x);
        yield* page_ref_put(page);
        return done;
      }),
      function* (w, loop) {
        yield* a_round_is_over(w, loop);
        yield* page_ref_get(w.page, false, null);
        yield* page_ref_put(w.page);
        yield* set(w.x);
      },
    ],
    written: [],
    tried: [],
  },
  'somebody waits for the lock': {
    bodies: [
      then_says_so(holding_l),
      function* (w, loop) {
        yield* a_round_is_over(w, loop);
        yield* takes_l_and_sets_x(w.l, w.x);
      },
    ],
    written: [],
    tried: [],
  },
  'a region without preemption that rounds leave': {
    bodies: [
      function* (w, loop) {
        yield* preempt_disable();
        yield* loop(function* () {
          const done = yield* is_1(w.x);
          yield* preempt_enable();
          yield* preempt_disable();
          return done;
        });
        yield* preempt_enable();
      },
      function* ({ x }) {
        yield* synchronize_rcu();
        yield* set(x);
      },
    ],
    written: [],
    tried: ['E132'],
  },
  'a read-side section that rounds leave': {
    bodies: [
      function* (w, loop) {
        yield* rcu_read_lock();
        yield* loop(function* () {
          const done = yield* is_1(w.x);
          yield* rcu_read_unlock();
          yield* rcu_read_lock();
          return done;
        });
        yield* rcu_read_unlock();
      },
      function* ({ x }) {
        yield* synchronize_rcu();
        yield* set(x);
      },
    ],
    written: [],
    tried: ['E132'],
  },
  'interrupts that rounds let in': {
    bodies: [
      function* (w, loop) {
        const flags = yield* local_irq_save();
        yield* loop(function* () {
          const done = yield* is_1(w.x);
          yield* local_irq_restore(flags);
          yield* local_irq_save();
          return done;
        });
        yield* local_irq_restore(flags);
      },
      function* ({ x }) {
        yield* csd_lock_wait(yield* send_ipi(0, sets_x, [x]));
      },
    ],
    written: [],
    tried: ['E132'],
  },
};

describe.each(Object.entries(CASES))('%s', (_name, { bodies, written, tried: expected }) => {
  test.each(['sc', 'tso'] as const)('%s', (model) => {
    const out = found(model, writtenOut, bodies);
    expect(out.runs).toBeGreaterThan(0);
    expect(out.all).toEqual(written);
    expect(found(model, tried, bodies).all).toEqual(expected);
  });
});
