// Two entries that hardware couples.  linux arch/mips, 2014.
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import { READ_ONCE, WRITE_ONCE, try_cmpxchg } from 'gracewalk/linux';

const NONE = 0;
const GLOBAL = 1;
const PAGE = 2;

interface State {
  readonly even: Word;
  readonly odd: Word;
  /** 1 once CPU1's vmap() has returned. */
  readonly mapped: Word;
}

/** An empty buddy gets the global bit, and one that is not empty keeps what it says. */
const set_buddy_global = fn(function* set_buddy_global(buddy: Word): Steps<boolean> {
  return yield* try_cmpxchg(buddy, NONE, GLOBAL);
});

const set_pte = fn(function* set_pte(ptep: Word, buddy: Word): Steps<boolean> {
  yield* WRITE_ONCE(ptep, PAGE | GLOBAL);
  return yield* set_buddy_global(buddy);
});

export default scenario<State>('mips-buddy-global', {
  title: 'MIPS: setting the global bit of an empty neighbour erases a mapping',
  citation: 'linux commit 46011e6ea392, "MIPS: Make set_pte() SMP safe", 2014',
  story:
    'A TLB entry of MIPS maps a pair of pages, and is global only if both entries of the pair say so. Setting a ' +
    'kernel mapping therefore looked whether its neighbour was empty, and if so stored the global bit there. Between ' +
    'the look and the store another CPU could map the neighbour: the store erased that mapping. The cure is a ' +
    'compare-and-exchange.',

  // Nothing in it is about the processor but the pair, and that is what the code keeps in step.
  machine: x86_64({ cpus: 2 }),

  setup: (m) => ({
    even: m.memory.variable('pte[0]'),
    odd: m.memory.variable('pte[1]'),
    mapped: m.memory.variable('mapped'),
  }),

  run: {
    CPU0: ({ even, odd }) => set_pte(even, odd),
    *CPU1({ even, odd, mapped }) {
      yield* set_pte(odd, even);
      yield* WRITE_ONCE(mapped, 1);
    },
  },

  always: {
    'what is mapped stays mapped': (v) =>
      v.read(v.s.mapped) === 0 || (v.read(v.s.odd) & PAGE) !== 0,
  },

  sometimes: {
    'the neighbour is empty': returned(set_buddy_global, true),
    'the neighbour maps a page': returned(set_buddy_global, false),
  },

  variants: {
    buggy: fails('property', {
      shows: ['bug:mips-buddy-global'],
      patches: [
        patch(set_buddy_global, function* (buddy) {
          if ((yield* READ_ONCE(buddy)) !== NONE) return false;
          yield* WRITE_ONCE(buddy, GLOBAL);
          return true;
        }),
      ],
    }),
    fixed: safe(),
  },
});
