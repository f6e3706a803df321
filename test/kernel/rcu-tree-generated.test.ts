import { expect, test } from 'vitest';
import * as linux from '../../src/kernel/index.ts';
import { fn, patch, type Patch } from '../../src/machine/fn.ts';
import type { Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { Random } from '../compare/random.ts';
import { TREE, outcomes, type Body, type Outcomes, type Words } from './rcu-programs.ts';

/** Generated pairs of a reader and an updater, with either implementation of RCU. */
type Statement = (w: Words) => Steps<string>;

const wordOf = (random: Random): ((w: Words) => Word) => {
  const name = random.of(['x', 'y'] as const);
  return (w) => w[name];
};

function read(random: Random): Statement {
  const word = wordOf(random);
  return function* (w) {
    return String(yield* linux.READ_ONCE(word(w)));
  };
}

function write(random: Random): Statement {
  const word = wordOf(random);
  return function* (w) {
    yield* linux.WRITE_ONCE(word(w), 1);
    return '';
  };
}

function* all(statements: readonly Statement[], w: Words): Steps<string> {
  let seen = '';
  for (const statement of statements) seen += yield* statement(w);
  return seen;
}

/** A section of one of the kinds that grace periods wait for. */
function section(random: Random, inner: readonly Statement[]): Statement {
  const kind = random.of(['rcu', 'irq', 'preempt'] as const);
  return function* (w) {
    const flags = kind === 'irq' ? yield* linux.local_irq_save() : 0;
    if (kind === 'rcu') yield* linux.rcu_read_lock();
    if (kind === 'preempt') yield* linux.preempt_disable();
    const seen = yield* all(inner, w);
    if (kind === 'preempt') yield* linux.preempt_enable();
    if (kind === 'rcu') yield* linux.rcu_read_unlock();
    if (kind === 'irq') yield* linux.local_irq_restore(flags);
    return seen;
  };
}

function callback(random: Random): Statement {
  const statement = write(random);
  const func = fn(function* callback(w: Words): Steps<void> {
    yield* statement(w);
  });
  return function* (w) {
    yield* linux.call_rcu(func, [w]);
    return '';
  };
}

function* synchronize(): Steps<string> {
  yield* linux.synchronize_rcu();
  return '';
}

function reader(random: Random): Body {
  const statements = [
    section(random, [read(random), read(random)]),
    ...(random.chance(0.2) ? [read(random)] : []),
  ];
  return (w) => all(statements, w);
}

function updater(random: Random): Body {
  const statements = [
    ...(random.chance(0.5) ? [callback(random)] : []),
    random.chance(0.2) ? section(random, [write(random), read(random)]) : write(random),
    random.chance(0.5) ? callback(random) : synchronize,
    ...(random.chance(0.6) ? [write(random)] : []),
  ];
  return (w) => all(statements, w);
}

const PROGRAMS = 100;

const programs = Array.from({ length: PROGRAMS }, (_, at) => {
  const random = new Random(at + 1);
  return { CPU0: reader(random), CPU1: updater(random) };
});
const allowed = programs.map((tasks) => outcomes(tasks, []));

/** What the specification allows and what the machine does, program by program. */
function* answers(machine: readonly Patch[]): Generator<readonly [Outcomes, Outcomes]> {
  for (const [at, tasks] of programs.entries()) yield [allowed[at]!, outcomes(tasks, machine)];
}

test('on generated programs the machine comes to exactly what the specification allows', () => {
  let several = 0;
  for (const [abstract, tree] of answers(TREE)) {
    if (abstract.finals.size > 2) several++;
    expect(tree).toEqual(abstract);
  }
  expect(several).toBeGreaterThan(PROGRAMS / 2);
});

test.each([
  [
    'takes an atomic region for quiescent',
    patch(linux.rcu_qs, function* () {
      yield* linux.quiescent_state({ ignoreAtomic: true, ignoreBlocked: false });
    }),
  ],
  [
    'takes a preempted reader for quiescent',
    patch(linux.rcu_qs, function* () {
      yield* linux.quiescent_state({ ignoreAtomic: false, ignoreBlocked: true });
    }),
  ],
  [
    'counts the grace period in progress',
    patch(linux.rcu_seq_snap, function* (gp_seq) {
      return (gp_seq + 4) & ~3;
    }),
  ],
])('a machine that %s is told apart by them', (_what, mistake) => {
  for (const [abstract, tree] of answers([...TREE, mistake])) {
    if ([...tree.finals].some((final) => !abstract.finals.has(final))) return;
  }
  expect.unreachable('no program shows it');
});
