// Two CPUs take two locks.  In which orders does nobody wait for ever?
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import { mutex_lock, mutex_unlock } from 'gracewalk/linux';

interface State {
  readonly a: Word;
  readonly b: Word;
}

const forth = fn(function* forth({ a, b }: State): Steps<boolean> {
  yield* mutex_lock(a);
  yield* mutex_lock(b);
  yield* mutex_unlock(b);
  yield* mutex_unlock(a);
  return true;
});

const back = fn(function* back({ a, b }: State): Steps<boolean> {
  yield* mutex_lock(a);
  yield* mutex_lock(b);
  yield* mutex_unlock(b);
  yield* mutex_unlock(a);
  return true;
});

/** The broken form: the other order. */
function* back_to_front({ a, b }: State): Steps<boolean> {
  yield* mutex_lock(b);
  yield* mutex_lock(a);
  yield* mutex_unlock(a);
  yield* mutex_unlock(b);
  return true;
}

export default scenario<State>('two-locks', {
  machine: x86_64({ cpus: 2 }),
  setup: (m) => ({ a: m.memory.variable('a'), b: m.memory.variable('b') }),
  run: { CPU0: forth, CPU1: back },
  sometimes: { 'both get through': returned(back, true) },
  variants: {
    'one order': safe(),
    'two orders': fails('deadlock', { patches: [patch(back, back_to_front)] }),
  },
});
