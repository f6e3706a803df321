// A domain id is free before its old binding is gone.  Xen VT-d, XSA-399, 2022.
import { fails, fn, patch, returned, safe, scenario, type Steps, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import { WRITE_ONCE, try_cmpxchg } from 'gracewalk/linux';

const DOMAIN_A = 1;
const DOMAIN_B = 2;

interface State {
  /** domid_bitmap: 1 while the id is taken. */
  readonly bitmap: Word;
  /** domid_map: whose it is. */
  readonly map: Word;
  /** 1 once domain B uses the id. */
  readonly used: Word;
}

const cleanup_domid_map = fn(function* cleanup_domid_map({ bitmap, map }: State): Steps<void> {
  yield* WRITE_ONCE(map, 0);
  yield* WRITE_ONCE(bitmap, 0); // from here on somebody else may have it
});

const get_iommu_did = fn(function* get_iommu_did(state: State): Steps<boolean> {
  if (!(yield* try_cmpxchg(state.bitmap, 0, 1))) return false;
  yield* WRITE_ONCE(state.map, DOMAIN_B);
  yield* WRITE_ONCE(state.used, 1);
  return true;
});

export default scenario<State>('vtd-domid-free-race', {
  title: 'Xen: a VT-d domain id is handed out while its owner is still being erased',
  citation:
    'Xen d9eca7bb6c66, XSA-399, CVE-2022-26357, "VT-d: correct ordering of operations in cleanup_domid_map()", 2022',
  story:
    'Translations of a device are tagged with the id of its domain. Releasing an id made it available first and ' +
    'erased its owner afterwards. Whoever took it in between lost the owner that he had just entered, and ' +
    'invalidations by owner did not find the id any more. The cure erases the owner first.',

  machine: x86_64({ cpus: 2 }),

  setup: (m) => ({
    bitmap: m.memory.variable('domid_bitmap[7]', 1),
    map: m.memory.variable('domid_map[7]', DOMAIN_A),
    used: m.memory.variable('used by B'),
  }),

  run: {
    CPU0: (state) => cleanup_domid_map(state),
    CPU1: (state) => get_iommu_did(state),
  },

  always: {
    'an id in use has its owner': (v) => v.read(v.s.used) === 0 || v.read(v.s.map) === DOMAIN_B,
  },

  sometimes: {
    'the id is handed out again': returned(get_iommu_did, true),
    'the id is still taken': returned(get_iommu_did, false),
  },

  variants: {
    buggy: fails('property', {
      shows: ['bug:vtd-domid-free-race'],
      patches: [
        patch(cleanup_domid_map, function* ({ bitmap, map }) {
          yield* WRITE_ONCE(bitmap, 0);
          yield* WRITE_ONCE(map, 0);
        }),
      ],
    }),
    fixed: safe(),
  },
});
