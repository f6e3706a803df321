import type { Page } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { scope, type ScopeArgs } from './tlb.ts';

/**
 * What walks page tables beside the processors: the guest that a processor runs, and devices.
 *
 * A guest has a root and a tag of its own. While its processor is not in it, it translates nothing, and what it
 * has cached stays under its tag: on the next entry it can be used again. So a translation that a hypervisor
 * leaves behind harms when the guest is entered, or if the guest is running.
 *
 * For RCU a processor that enters a guest passes a quiescent state, and is in none of its sections while it is
 * there, although interrupts are off (linux v6.12 include/linux/context_tracking.h, guest_context_enter_irqoff).
 *
 * Follows Intel SDM vol. 3C, Caching Translation Information, and AMD APM vol. 2, TLB Control.
 */

const enterOp = defineOp('vm_enter', {
  ordering: 'full', // a VM entry loads control registers and serialises
  exec: (m, who, [walker, root]: [number, Page]) => {
    const { name } = m.memory.info(root.frame);
    if (!m.dereference(who, root.frame, root.generation, name)) return undefined;
    m.translations.loadRoot(who, m.walker(walker), root.frame, false);
    if (who.cpu < 0) return undefined;
    const { atomic, guest, quiescent } = m.cpu(who.cpu);
    m.cells.set(guest, 1);
    if (m.cells.get(atomic) > 0) m.cells.set(quiescent, m.cells.get(quiescent) + 1);
    return undefined;
  },
  describe: (m, _who, [walker, root]) => ({
    event: `${m.walker(walker).name} enters the guest, root ${m.memory.info(root.frame).name}`,
  }),
});

/** The walker translates by `root` from now on; what it has cached of that root is still there. */
export function* vm_enter(walker: number, root: Page): Steps<void> {
  yield* perform(enterOp, [walker, root]);
}

const exitOp = defineOp('vm_exit', {
  ordering: 'full',
  exec: (m, who, [walker]: [number]) => {
    m.translations.loadRoot(who, m.walker(walker), 0, false);
    if (who.cpu >= 0) m.cells.set(m.cpu(who.cpu).guest, 0);
    return undefined;
  },
  describe: (m, _who, [walker]) => ({ event: `${m.walker(walker).name} leaves the guest` }),
});

/** The walker translates nothing until it is entered again. */
export function* vm_exit(walker: number): Steps<void> {
  yield* perform(exitOp, [walker]);
}

const flushOp = defineOp('flush_walker', {
  ordering: 'full',
  exec: (m, who, [walker, ...covered]: [number, ...ScopeArgs]) => {
    m.translations.invalidate(who, m.walker(walker), scope(...covered));
    return undefined;
  },
});

/** Invalidates what the walker has cached in the scope (INVEPT, INVVPID, a device's invalidation command). */
export function* flush_walker(walker: number, ...covered: ScopeArgs): Steps<void> {
  yield* perform(flushOp, [walker, ...covered]);
}

export { guest_load, guest_store } from './access.ts';
