import type { Page } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';

const guestRootOp = defineOp('guest_root', {
  ordering: 'none',
  exec: (m, _who, [vcpu]: [number]): Page => {
    const { root, rootGeneration } = m.cpu(vcpu);
    return m.memory.page(m.cells.get(root), m.cells.peek(rootGeneration));
  },
  describe: (m, _who, _args, value) => ({
    comment: `-> ${m.memory.frames[(value as Page).frame]?.name ?? 'none'}`,
  }),
});

/** The page-table root that a virtual CPU has loaded, as its host reads it from the vCPU's state. */
export function* guest_root(vcpu: number): Steps<Page> {
  return yield* perform(guestRootOp, [vcpu]);
}
