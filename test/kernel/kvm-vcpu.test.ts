import { describe, expect, test } from 'vitest';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { explore } from '../../src/explore/explore.ts';
import type { Program } from '../../src/explore/run.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Page } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { READ_ONCE, WRITE_ONCE, write_entry } from '../../src/machine/ops/memory.ts';
import { spin_lock, spin_unlock } from '../../src/machine/ops/locks.ts';
import { choose } from '../../src/machine/ops/control.ts';
import { free_frame } from '../../src/machine/ops/pages.ts';
import { AGAIN, retry } from '../../src/machine/ops/retry.ts';
import { STAGE } from '../../src/machine/stages.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';
import { patch, type Patch } from '../../src/machine/fn.ts';
import { smp_mb } from '../../src/machine/ops/store-buffer.ts';
import { new_mm, new_page } from '../../src/kernel/boot.ts';
import { new_vm, sptep_at } from '../../src/kernel/virt/kvm/boot.ts';
import type { Kvm, RetPf, Sptep } from '../../src/kernel/virt/kvm/types.ts';
import {
  kvm_flush_remote_tlbs,
  kvm_service_local_tlb_flush_requests,
  kvm_vcpu_exit_request,
  kvm_vcpu_flush_tlb_current,
  vcpu_run,
} from '../../src/kernel/virt/kvm/vcpu.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { found } from '../sanitizers/found.ts';
import { tasks } from '../zoo/tables.ts';

interface Guest {
  readonly machine: Machine;
  readonly kvm: Kvm;
  readonly X: Page;
  readonly sptep: Sptep;
}

function* emulate(): Steps<RetPf> {
  return 'RET_PF_EMULATE';
}

/** A virtual machine whose guest frame 0 is X; what faults is not mapped again. */
function guest(tables: string, model: MemoryModel = 'sc'): Guest {
  const machine = new Machine({
    arch: x86_64_descriptor,
    model,
    cpus: ['CPU0', 'CPU1'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const X = new_page(machine, 'X', 1);
  const mm = new_mm(machine, 'mm', {}, { on: [], tables: [0] });
  const stage = machine.arch.seconds!.findIndex(({ name }) => name === tables) + 1;
  const bits = machine.arch.leaf(stage * STAGE, X.frame, { writable: true });
  const mmu = { page_fault: emulate, unmap_gfn_range: never, age_gfn: never };
  const mapped = { 0: { page: X, bits } };
  const kvm = new_vm(machine, mm, 'kvm', mmu, { vcpus: ['CPU0'], tables, mapped });
  machine.cells.settle();
  const table = { frame: machine.memory.frameByName.get('sp')!, generation: 1 };
  return { machine, kvm, X, sptep: sptep_at(kvm, table, 0, 0) };
}

function* never(): Steps<boolean> {
  return false;
}

function* zap({ machine, kvm, X, sptep }: Guest, flush: boolean): Steps<void> {
  yield* write_entry(sptep, machine.memory.entry(0n, 0, kvm.stage * STAGE));
  if (flush) yield* kvm_flush_remote_tlbs(kvm);
  yield* free_frame(X);
}

function race(g: Guest, flush: boolean, patches: readonly Patch[] = []): Program {
  const vcpu = g.kvm.vcpus[0]!;
  const program = tasks(
    g.machine,
    () => vcpu_run(vcpu, { gpa: 0 }),
    () => zap(g, flush),
  );
  return { ...program, patches: new Map(patches.map((it) => [it.target, it.replacement])) };
}

const KINDS = ['ept', 'ept_no_ad', 'npt', 'shadow'];

describe('a page of the guest is freed', () => {
  test.each(KINDS)('behind the flush of all vCPUs: %s', (tables) => {
    expect(found(race(guest(tables), true))).toEqual([]);
    expect(found(race(guest(tables, 'tso'), true))).toEqual([]);
  });

  test.each(KINDS)('without a flush: %s', (tables) => {
    expect(found(race(guest(tables), false))).toEqual([
      "stale-translation: X is freed while vCPU0's TLB may still map gfn 0 to it.",
      "stale-translation: X is gone, yet vCPU0's TLB may still map gfn 0 to it.",
      'use-after-free: CPU0 uses gfn 0 of vCPU0 after CPU1 has freed X.',
    ]);
  });

  test('the vCPU does not look for requests', () => {
    const never_looks = patch(kvm_vcpu_exit_request, never);
    const gone = "stale-translation: X is gone, yet vCPU0's TLB may still map gfn 0 to it.";
    expect(found(race(guest('ept'), true, [never_looks]))).toContain(gone);
    const no_flush = patch(kvm_vcpu_flush_tlb_current, function* () {});
    expect(found(race(guest('ept'), true, [no_flush]))).toContain(gone);
  });

  test('the vCPU never does what was requested: it never gets into the guest', () => {
    const never_serves = patch(kvm_service_local_tlb_flush_requests, function* () {});
    const [livelock] = found(race(guest('ept'), true, [never_serves]));
    expect(livelock).toContain('livelock: Nobody is left who could change it: CPU0 tries again');
    expect(livelock).toContain('vCPU0->requests.KVM_REQ_TLB_FLUSH');
  });

  test('the mode is in the store buffer while it looks (tso)', () => {
    const no_barrier = patch(smp_mb, function* () {});
    expect(found(race(guest('ept', 'sc'), true, [no_barrier]))).toEqual([]);
    expect(found(race(guest('ept', 'tso'), true, [no_barrier]))).not.toEqual([]);
  });
});

describe('a loop that starts again', () => {
  function flag(): { machine: Machine; waits: () => Steps<void>; sets: () => Steps<void> } {
    const machine = new Machine({
      arch: x86_64_descriptor,
      cpus: ['CPU0', 'CPU1', 'CPU2'].map((name) => ({ name, virtual: false })),
      sanitizers: all_sanitizers,
    });
    const [x, y] = [machine.memory.variable('x'), machine.memory.variable('y')];
    machine.cells.settle();
    const waits = (): Steps<void> =>
      retry(function* () {
        yield* WRITE_ONCE(y, 1);
        yield* WRITE_ONCE(y, 0);
        if ((yield* READ_ONCE(x)) === 0) return AGAIN;
        return undefined;
      });
    const sets = (): Steps<void> => WRITE_ONCE(x, 1);
    return { machine, waits, sets };
  }

  test('each change is tried once, not each round', () => {
    const { machine, waits, sets } = flag();
    expect(explore(tasks(machine, waits, sets)).runs).toBe(2);
  });

  test('two that take one lock in turn do not wake each other', () => {
    const { machine, sets } = flag();
    const [lock, x] = [machine.memory.variable('lock'), machine.memory.variable('z')];
    machine.cells.settle();
    const waits = (): Steps<void> =>
      retry(function* () {
        yield* spin_lock(lock);
        const value = yield* READ_ONCE(x);
        yield* spin_unlock(lock);
        return value === 0 ? AGAIN : undefined;
      });
    const { violations } = explore(tasks(machine, waits, waits, sets));
    expect([...violations.values()].map(({ violation }) => violation.message)).toEqual([
      'Nobody is left who could change it: CPU0 tries again and again, without a change of z; CPU1 tries again and again, without a change of z.',
    ]);
  });

  test('a round that may go another way by itself is no livelock', () => {
    const { machine } = flag();
    const waits = (): Steps<void> =>
      retry(function* () {
        return (yield* choose('luck', [true, false])) ? undefined : AGAIN;
      });
    const { violations, runs } = explore(tasks(machine, waits));
    expect(violations.size).toBe(0);
    expect(runs).toBe(1);
  });

  test('nobody changes anything: a livelock, not a deadlock', () => {
    const { machine, waits } = flag();
    const { violations } = explore(tasks(machine, waits));
    expect([...violations.values()].map(({ violation }) => violation.message)).toEqual([
      'Nobody is left who could change it: CPU0 tries again and again, without a change of y, x.',
    ]);
  });

  test('a change that is taken back while a round runs is no livelock', () => {
    const { machine } = flag();
    const x = machine.memory.variable('z');
    machine.cells.settle();
    const waits = (): Steps<void> =>
      retry(function* () {
        yield* WRITE_ONCE(x, 1);
        if ((yield* READ_ONCE(x)) === 1) return undefined;
        yield* WRITE_ONCE(x, 0); // the round has seen what somebody else stored, and what it finds next is 0 again
        return AGAIN;
      });
    const disturbs = (): Steps<void> => WRITE_ONCE(x, 2);
    expect(found(tasks(machine, waits, disturbs))).toEqual([]);
  });
});
