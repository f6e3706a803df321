import { fn, leaf } from '../../../machine/fn.ts';
import type { Machine } from '../../../machine/machine.ts';
import type { EntryPointer, Page } from '../../../machine/memory.ts';
import type { Steps } from '../../../machine/op.ts';
import { choose } from '../../../machine/ops/control.ts';
import { holds } from '../../../machine/protection.ts';
import { guest_root } from '../../../machine/ops/guest-root.ts';
import { sched_out } from '../../../machine/ops/host.ts';
import { read_entry } from '../../../machine/ops/memory.ts';
import { kernel_of } from '../../boot.ts';
import { memcpy_to_page } from '../../mm/page-ref.ts';
import type { PerCpu } from '../../mm/types.ts';
import { kvm_steal_time_set_preempted, kvm_vm_entry, record_steal_time } from './steal-time.ts';

/**
 * An instruction of the guest that the host executes on the vCPU's behalf.
 *
 * Guarantee: no guest flush completes between the translation of the instruction's address and its access,
 * as none completes in the middle of an instruction that the processor executes itself.
 * Mechanism: a vCPU is reported as preempted only where the exit left it between two instructions. In the
 * middle of one it is not, so a flusher sends its interrupt and waits until the vCPU is back in the guest.
 * Why the flush at VM entry does not do instead: the emulator holds a translation in a local variable of the
 * host, which no flush of the guest's TLB reaches, and uses it before the entry (M4.10).
 *
 * Follows linux v6.12 arch/x86/kvm/x86.c (kvm_arch_vcpu_put, kvm_steal_time_set_preempted,
 * x86_emulate_instruction) and 6cd88243c7e0, where the test was added.
 */

/** vcpu->arch.at_instruction_boundary: set only by the handler of external interrupts. */
export const kvm_at_instruction_boundary = fn(
  function* kvm_at_instruction_boundary(exit: string): Steps<boolean> {
    return exit === 'external interrupt';
  },
  { protects: { what: 'kvm_at_instruction_boundary()', without: holds } },
);

/** The vCPU's thread loses its processor. */
export const kvm_arch_vcpu_put = fn(function* kvm_arch_vcpu_put(
  vcpu: PerCpu,
  exit: string,
): Steps<void> {
  if (yield* kvm_at_instruction_boundary(exit)) yield* kvm_steal_time_set_preempted(vcpu);
});

const vm_exit = leaf(
  function* vm_exit(vcpu: PerCpu): Steps<void> {
    yield* sched_out(vcpu.cpu);
  },
  { event: 'leaves the guest' },
);

const kvm_read_cr3 = leaf(function* kvm_read_cr3(vcpu: PerCpu): Steps<Page> {
  return yield* guest_root(vcpu.cpu);
});

/** One entry of a guest's page table, read by the host. */
const kvm_read_guest_entry = leaf(function* kvm_read_guest_entry(ptep: EntryPointer) {
  return yield* read_entry(ptep);
});

/** paging64_gva_to_gpa(): walks the guest's tables as its processor would. */
export const kvm_mmu_gva_to_gpa = fn(function* kvm_mmu_gva_to_gpa(
  machine: Machine,
  vcpu: PerCpu,
  gva: number,
): Steps<Page | null> {
  let table: Page = yield* kvm_read_cr3(vcpu);
  for (const { shift, bits } of machine.arch.levels.toReversed()) {
    const index = Math.floor(gva / 2 ** shift) % 2 ** bits;
    const ptep = { ...table, index };
    const pte = yield* kvm_read_guest_entry(ptep);
    if (!pte.present) return null;
    table = Object.freeze({ frame: pte.frame, generation: pte.generation });
  }
  return table;
});

/** The emulated store itself, to the page that the address meant when it was translated. */
const emulator_write_emulated = fn(function* emulator_write_emulated(gpa: Page): Steps<void> {
  yield* memcpy_to_page(gpa, 0, 1n);
});

/**
 * A host that takes the vCPU out of the guest `times` times, for an interrupt or to emulate a store to
 * `gva`, and whose scheduler takes the processor away from its thread each time.
 */
const host_emulates = fn(
  function* host_emulates(machine: Machine, vcpu: PerCpu, times: number, gva: number): Steps<void> {
    for (let round = 0; round < times; round++) {
      yield* vm_exit(vcpu);
      const exit = yield* choose('exit', ['external interrupt', 'emulated store']);
      const emulated = exit === 'emulated store';
      const gpa = emulated ? yield* kvm_mmu_gva_to_gpa(machine, vcpu, gva) : null;
      yield* kvm_arch_vcpu_put(vcpu, exit);
      if (gpa) yield* emulator_write_emulated(gpa);
      yield* record_steal_time(vcpu);
      yield* kvm_vm_entry(vcpu);
    }
  },
  { hidden: true },
);

/** For scenarios: `host: kvm_emulating_host(address)`. */
export function kvm_emulating_host(
  gva: number,
): (machine: Machine, vcpu: number, times: number) => Steps<void> {
  return (machine, vcpu, times) =>
    host_emulates(machine, kernel_of(machine).cpus[vcpu] as PerCpu, times, gva);
}
