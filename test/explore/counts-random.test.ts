import fc from 'fast-check';
import { expect, test } from 'vitest';
import { explore } from '../../src/explore/explore.ts';
import type { PlantedMistakes } from '../../src/explore/source-sets.ts';
import { fn } from '../../src/machine/fn.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { assume, choose, spin_until } from '../../src/machine/ops/control.ts';
import { spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE, fetch_add, try_cmpxchg } from '../../src/machine/ops/memory.ts';
import {
  csd_lock_wait,
  local_irq_restore,
  local_irq_save,
  send_ipi,
} from '../../src/machine/ops/processor.ts';
import { queue_callback, rcu_nest, wait_grace_period } from '../../src/machine/ops/rcu.ts';
import { smp_mb } from '../../src/machine/ops/store-buffer.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { build } from '../zoo/program.ts';
import { countTraces } from '../zoo/traces.ts';

/**
 * The count of a random program is the number of its Mazurkiewicz traces, found by trying every
 * interleaving. Programs wait, deadlock, interrupt each other, create actors and choose.
 */
interface Locals {
  readonly w: Readonly<Record<'x' | 'y' | 'a' | 'b', Word>>;
  readonly cpu: number;
  seen: number;
}

type Statement = (locals: Locals) => Steps<void>;

const statements: Readonly<Record<string, Statement>> = {
  *'r=x'(locals) {
    locals.seen = yield* READ_ONCE(locals.w.x);
  },
  *'r=y'(locals) {
    locals.seen = yield* READ_ONCE(locals.w.y);
  },
  'x=1': ({ w }) => WRITE_ONCE(w.x, 1),
  'y=1': ({ w }) => WRITE_ONCE(w.y, 1),
  'y=r+1': ({ w, seen }) => WRITE_ONCE(w.y, seen + 1),
  *'FAA x'({ w }) {
    yield* fetch_add(w.x, 1);
  },
  *'CAS(x,0,2)'({ w }) {
    yield* try_cmpxchg(w.x, 0, 2);
  },
  *'if r then x=3'({ w, seen }) {
    if (seen > 0) yield* WRITE_ONCE(w.x, 3);
  },
  *'await x'({ w }) {
    yield* spin_until([w.x], (x) => x > 0);
  },
  *'await x or y'({ w }) {
    yield* spin_until([w.x, w.y], (x, y) => x > 0 || y > 0);
  },
  *'lock a'({ w }) {
    yield* spin_lock(w.a);
    yield* WRITE_ONCE(w.y, 4);
    yield* spin_unlock(w.a);
  },
  *'lock a, b'({ w }) {
    yield* spin_lock(w.a);
    yield* spin_lock(w.b);
    yield* spin_unlock(w.b);
    yield* spin_unlock(w.a);
  },
  *'lock b, a'({ w }) {
    yield* spin_lock(w.b);
    yield* spin_lock(w.a);
    yield* spin_unlock(w.a);
    yield* spin_unlock(w.b);
  },
  MB: () => smp_mb(),
  'assume r': ({ seen }) => assume(seen === 0),
  *choose({ w }) {
    if (yield* choose('which', [true, false])) yield* WRITE_ONCE(w.x, 5);
  },
  *'irq off: y=5'({ w }) {
    const flags = yield* local_irq_save();
    yield* WRITE_ONCE(w.y, 5);
    yield* local_irq_restore(flags);
  },
  *ipi({ w, cpu }) {
    yield* send_ipi(1 - Math.min(cpu, 1), writer(w), []);
  },
  *'ipi and wait'({ w, cpu }) {
    yield* csd_lock_wait(yield* send_ipi(1 - Math.min(cpu, 1), writer(w), []));
  },
  *'rcu: r=x'(locals) {
    yield* rcu_nest(1);
    locals.seen = yield* READ_ONCE(locals.w.x);
    yield* rcu_nest(-1);
  },
  synchronize_rcu: () => wait_grace_period(),
  call_rcu: ({ w }) => queue_callback(writer(w), [], undefined),
};

function writer({ y }: Locals['w']) {
  return fn(function* writer() {
    yield* WRITE_ONCE(y, 6);
  });
}

type Thread = readonly string[];

function random(threads: readonly Thread[], model: MemoryModel = 'sc') {
  const program = {
    words: { x: 0, y: 0, a: 0, b: 0 },
    threads: (w: Locals['w']) =>
      threads.map(
        (names, cpu) =>
          function* () {
            const locals: Locals = { w, cpu, seen: 0 };
            for (const name of names) yield* statements[name]!(locals);
          },
      ),
  };
  return build(program, model);
}

const MAX_PLAIN_RUNS = 5000;
const SEED = 20_261_121;
/** The nightly run tries many more, and others every day. */
const many = {
  programs: Number(process.env.GRACEWALK_PROGRAMS ?? 150),
  seed: Number(process.env.GRACEWALK_SEED ?? SEED),
};

const thread = fc.array(fc.constantFrom(...Object.keys(statements)), {
  minLength: 1,
  maxLength: 3,
});
const threads = fc.array(thread, { minLength: 2, maxLength: 3 });

/** Checks the law for many programs; `counted` says how many were small enough for plain enumeration. */
function check(
  model: MemoryModel,
  { programs, seed }: typeof many,
  mistakes: PlantedMistakes = {},
) {
  let counted = 0;
  const law = fc.property(threads, (program) => {
    const traces = countTraces(random(program, model), MAX_PLAIN_RUNS);
    if (traces === null) return;
    counted++;
    const { runs, assumed } = explore(random(program, model), { mistakes });
    expect(runs + assumed).toBe(traces);
  });
  const numRuns = model === 'sc' ? programs : Math.ceil(programs / 3); // each has many more interleavings
  const options = { seed, numRuns, endOnFailure: true };
  return { details: fc.check(law, options), counted };
}

const MODELS = ['sc', 'tso'] as const;

test.each(MODELS)('every class is executed once, %s', { timeout: 600_000 }, (model) => {
  const { details, counted } = check(model, many);
  expect(fc.defaultReportMessage(details)).toBe(undefined);
  expect(counted).toBeGreaterThan(details.numRuns / 2);
});

test('the law notices if blocked actors take part in no race', { timeout: 600_000 }, () => {
  expect(check('sc', { programs: 300, seed: SEED }, { noPhantoms: true }).details.failed).toBe(
    true,
  );
});

test('leaving blocked actors out at sleep-blocked ends alone loses a class', () => {
  const program = [['y=1', 'r=x'], ['lock a, b'], ['FAA x', 'lock b, a', 'lock a']];
  expect(countTraces(random(program), Infinity)).toBe(11);
  expect(explore(random(program)).runs).toBe(11);
  const mistakes = { noPhantomsAtSleepBlocked: true };
  expect(explore(random(program), { mistakes }).runs).toBe(10);
});
