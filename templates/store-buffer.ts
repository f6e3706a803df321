// Each CPU raises its flag and looks at the other's.  Can both see nothing?  (x86 store buffers)
import { fails, fn, nop, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import { READ_ONCE, WRITE_ONCE, fetch_add, smp_mb } from 'gracewalk/linux';

interface State {
  readonly flags: readonly [Word, Word];
  /** How many have seen the other's flag down. */
  readonly alone: Word;
}

const barrier = fn(function* barrier(): Steps<void> {
  yield* smp_mb();
});

const enter = fn(function* enter(mine: Word, other: Word, alone: Word): Steps<boolean> {
  yield* WRITE_ONCE(mine, 1);
  yield* barrier();
  if ((yield* READ_ONCE(other)) === 1) return false;
  yield* fetch_add(alone, 1);
  return true;
});

export default scenario<State>('store-buffer', {
  machine: x86_64({ cpus: 2 }),
  model: 'tso', // stores wait in a buffer; without this line they are in memory at once

  setup: (m) => ({
    flags: [m.memory.variable('flag0'), m.memory.variable('flag1')],
    alone: m.memory.variable('alone'),
  }),

  run: {
    CPU0: ({ flags, alone }) => enter(flags[0], flags[1], alone),
    CPU1: ({ flags, alone }) => enter(flags[1], flags[0], alone),
  },

  always: { 'one of them notices': (v) => v.read(v.s.alone) < 2 },
  sometimes: { 'one is alone': returned(enter, true), 'one is late': returned(enter, false) },

  variants: {
    smp_mb: safe(),
    'no barrier': fails('property', { patches: [patch(barrier, nop)] }),
    // The same without store buffers: interleaving alone does not show it.
    'no barrier, sc': safe({ model: 'sc', patches: [patch(barrier, nop)] }),
  },
});
