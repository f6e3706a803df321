import { isOut } from '../cpu.ts';
import { defineOp, perform, type Steps } from '../op.ts';

/**
 * The hypervisor's side of a virtual CPU. Taking it off its processor, flushing its translations and
 * entering the guest again are separate steps, because guests observe what lies between them; what the
 * host writes for the guest to see is kernel code (`kernel/virt/kvm/steal-time.ts`).
 */

const outOp = defineOp('sched_out', {
  ordering: 'full',
  // A VM exit empties the store buffer of the processor that the vCPU was on.
  guard: (read, m, _who, [vcpu]: [number]) =>
    !isOut(read, m.cpu(vcpu)) && (m.buffers === null || m.buffers.isCpuEmpty(read, m.cpu(vcpu))),
  exec: (m, _who, [vcpu]) => {
    m.cells.set(m.cpu(vcpu).out, 1);
    return undefined;
  },
  describe: () => ({ event: 'schedules out' }),
});

/** Deschedules a virtual CPU: nothing of it executes and none of its translations is used. */
export function* sched_out(vcpu: number): Steps<void> {
  yield* perform(outOp, [vcpu]);
}

const flushOp = defineOp('flush_guest_tlb', {
  ordering: 'full',
  exec: (m, who, [vcpu]: [number]) => {
    m.translations.invalidate(who, m.cpu(vcpu), { tables: true });
    return undefined;
  },
  describe: () => ({ event: 'host flushes the guest TLB' }),
});

/** Drops every translation of a virtual CPU (INVVPID). */
export function* flush_guest_tlb(vcpu: number): Steps<void> {
  yield* perform(flushOp, [vcpu]);
}

const entryOp = defineOp('vm_entry', {
  ordering: 'full',
  exec: (m, who, [vcpu]: [number]) => {
    const cpu = m.cpu(vcpu);
    m.cells.set(cpu.out, 0);
    m.translations.resumed(who, cpu);
    return undefined;
  },
  describe: () => ({ event: 'schedules back in' }),
});

/** The virtual CPU executes again. */
export function* vm_entry(vcpu: number): Steps<void> {
  yield* perform(entryOp, [vcpu]);
}
