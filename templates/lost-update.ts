// Two CPUs add one to a counter.  Is an increment lost?
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import { READ_ONCE, WRITE_ONCE, fetch_add } from 'gracewalk/linux';

interface State {
  readonly count: Word;
  readonly done: Word;
}

/** Everything that touches memory takes `yield*`. */
const increment = fn(function* increment(count: Word): Steps<number> {
  return yield* fetch_add(count, 1);
});

/** The broken form: somebody else may come between the load and the store. */
function* increment_in_two_steps(count: Word): Steps<number> {
  const value = yield* READ_ONCE(count);
  yield* WRITE_ONCE(count, value + 1);
  return value;
}

const worker = fn(function* worker({ count, done }: State): Steps<void> {
  yield* increment(count);
  yield* fetch_add(done, 1);
});

export default scenario<State>('lost-update', {
  machine: x86_64({ cpus: 2 }),

  // The initial state. What two actors share is memory of the machine, never a variable of this file.
  setup: (m) => ({ count: m.memory.variable('count'), done: m.memory.variable('done') }),

  // Who runs where.
  run: { CPU0: worker, CPU1: worker },

  // Must hold at every instant.
  always: {
    'nothing is lost': (v) => v.read(v.s.done) < 2 || v.read(v.s.count) === 2,
  },

  // Must be seen in some run, or the verdict is `vacuous`.
  sometimes: { 'one comes second': returned(increment, 1) },

  variants: {
    atomic: safe(),
    'two steps': fails('property', { patches: [patch(increment, increment_in_two_steps)] }),
  },
});
