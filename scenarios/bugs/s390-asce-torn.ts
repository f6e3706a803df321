// A root descriptor built from two words.  linux arch/s390, 2016.
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { s390 } from 'gracewalk/arch';
import { READ_ONCE, WRITE_ONCE } from 'gracewalk/linux';

/** Designation types of an ASCE, and the tables they go with. */
const REGION_THIRD = 1;
const REGION_SECOND = 2;

interface State {
  readonly pgd: Word;
  readonly asce_bits: Word;
  /** mm->context.asce, table and type in one. */
  readonly asce: Word;
  /** What CPU1 has loaded: table and type. */
  readonly cr1: Word;
}

const descriptor = (table: number, type: number): number => table * 16 + type;

/** One more level on top, because a mapping beyond the present limit is asked for. */
const crst_table_upgrade = fn(function* crst_table_upgrade(state: State): Steps<void> {
  yield* WRITE_ONCE(state.asce, descriptor(REGION_SECOND, REGION_SECOND));
});

const set_user_asce = fn(function* set_user_asce(state: State): Steps<number> {
  return yield* READ_ONCE(state.asce);
});

const switch_mm = fn(function* switch_mm(state: State): Steps<number> {
  const asce = yield* set_user_asce(state);
  yield* WRITE_ONCE(state.cr1, asce);
  return asce;
});

export default scenario<State>('s390-asce-torn', {
  title: 's390: the type of a root table is stored before the table',
  citation:
    'linux commit 723cacbd9dc7, "s390/mm: fix asce_bits handling with dynamic pagetable levels", 2016',
  story:
    'The register that names the root table also says which level it has. The two were separate words of the mm, ' +
    'and an upgrade to one more level stored them one after the other. A thread of the same process that was ' +
    'switched in between loaded the type of the new root with the address of the old one, and the next translation ' +
    'panicked. The cure keeps the complete descriptor in one word.',

  machine: s390({ cpus: 2 }),

  setup: (m) => ({
    pgd: m.memory.variable('mm->pgd', REGION_THIRD),
    asce_bits: m.memory.variable('mm->context.asce_bits', REGION_THIRD),
    asce: m.memory.variable('mm->context.asce', descriptor(REGION_THIRD, REGION_THIRD)),
    cr1: m.memory.variable('CR1(CPU1)'),
  }),

  run: {
    CPU0: (state) => crst_table_upgrade(state),
    CPU1: (state) => switch_mm(state),
  },

  always: {
    'a loaded root has the level that its descriptor says': (v) => {
      const loaded = v.read(v.s.cr1);
      return loaded >> 4 === (loaded & 15);
    },
  },

  sometimes: {
    'the old root is loaded': returned(switch_mm, descriptor(REGION_THIRD, REGION_THIRD)),
    'the new root is loaded': returned(switch_mm, descriptor(REGION_SECOND, REGION_SECOND)),
  },

  variants: {
    buggy: fails('property', {
      shows: ['bug:s390-asce-torn'],
      patches: [
        patch(crst_table_upgrade, function* ({ pgd, asce_bits }) {
          yield* WRITE_ONCE(asce_bits, REGION_SECOND);
          yield* WRITE_ONCE(pgd, REGION_SECOND);
        }),
        patch(set_user_asce, function* ({ pgd, asce_bits }) {
          const type = yield* READ_ONCE(asce_bits);
          return descriptor(yield* READ_ONCE(pgd), type);
        }),
      ],
    }),
    fixed: safe(),
  },
});
