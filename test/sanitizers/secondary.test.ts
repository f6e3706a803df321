import { describe, expect, test } from 'vitest';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { new_mm, new_page } from '../../src/kernel/boot.ts';
import { new_host_vm } from '../../src/kernel/arch/x86/kvm/tdp_boot.ts';
import { make_spte, nonpresent_spte } from '../../src/kernel/arch/x86/kvm/spte.ts';
import { sptep_at } from '../../src/kernel/virt/kvm/boot.ts';
import type { Kvm, Sptep, Vcpu } from '../../src/kernel/virt/kvm/types.ts';
import { kvm_flush_remote_tlbs, vcpu_never_faults } from '../../src/kernel/virt/kvm/vcpu.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Page } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { write_entry } from '../../src/machine/ops/memory.ts';
import { free_frame } from '../../src/machine/ops/pages.ts';
import { bug_on, gfns_unmapped, page_is_owned } from '../../src/machine/ops/secondary.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { tasks } from '../zoo/tables.ts';
import { found } from './found.ts';

/** The checks of ops/secondary.ts: each with the smallest program that trips it and one that must not. */
interface Guest {
  readonly machine: Machine;
  readonly kvm: Kvm;
  readonly vcpu: Vcpu;
  readonly P: Page;
  /** Mapped nowhere. */
  readonly Q: Page;
  readonly sptep: Sptep;
}

function guest(): Guest {
  const machine = new Machine({
    arch: x86_64_descriptor,
    cpus: ['CPU0', 'CPU1'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const P = new_page(machine, 'P', 1);
  const Q = new_page(machine, 'Q', 1);
  const mm = new_mm(machine, 'mm', {}, { on: [], tables: [0] });
  const kvm = new_host_vm(machine, mm, { mapped: { 0: P } });
  machine.cells.settle();
  const table = { frame: machine.memory.frameByName.get('sp') as number, generation: 1 };
  const vcpu = kvm.vcpus[0] as Vcpu;
  return { machine, kvm, vcpu, P, Q, sptep: sptep_at(kvm, table, 0, 0) };
}

const mapped = ({ kvm }: Guest): Steps<void> =>
  gfns_unmapped(kvm.root, () => [{ start: 0, end: 1 }], 'start returns');

function* zapped(g: Guest, flush: boolean): Steps<void> {
  yield* write_entry(g.sptep, nonpresent_spte(g.kvm, 0));
  if (flush) yield* kvm_flush_remote_tlbs(g.kvm);
  yield* mapped(g);
}

describe('nothing is mapped where an invalidation begins', () => {
  test('an entry that is still there', () => {
    const g = guest();
    const all = found(tasks(g.machine, () => mapped(g)));
    expect(all).toEqual(['property: sp[0] maps P when start returns.']);
  });

  test('a guest that runs and has not flushed', () => {
    const g = guest();
    const runs = (): Steps<unknown> => vcpu_never_faults(g.vcpu, { gpa: 0 });
    const all = found(tasks(g.machine, runs, () => zapped(g, false)));
    expect(all).toContain('property: vCPU0 may still translate to P when start returns.');
    // It was not running, and did not flush before it ran.
    expect(all).toContain(
      "stale-translation: P is gone, yet vCPU0's TLB may still map gfn 0 to it.",
    );
  });

  test('removed and flushed', () => {
    const g = guest();
    const runs = (): Steps<unknown> => vcpu_never_faults(g.vcpu, { gpa: 0 });
    expect(found(tasks(g.machine, runs, () => zapped(g, true)))).toEqual([]);
  });
});

describe('no entry leads to what is gone', () => {
  test('a page that is freed while an entry maps it, and no guest runs', () => {
    const { machine, P } = guest();
    expect(found(tasks(machine, () => free_frame(P)))).toEqual([
      'stale-translation: P is freed while sp[0] maps it.',
      'stale-translation: P is gone, and sp[0] maps it.',
    ]);
  });

  test('an entry that is made after the page was freed', () => {
    const g = guest();
    const { machine, kvm, P, sptep } = g;
    const all = found(
      tasks(machine, function* () {
        yield* zapped(g, true);
        yield* free_frame(P);
        yield* write_entry(sptep, make_spte(kvm, 0, P, { write: true }));
      }),
    );
    expect(all).toEqual(['stale-translation: P is gone, and sp[0] maps it.']);
  });

  test('an entry that is removed before the page is freed', () => {
    const g = guest();
    const all = found(
      tasks(g.machine, function* () {
        yield* zapped(g, true);
        yield* free_frame(g.P);
      }),
    );
    expect(all).toEqual([]);
  });
});

describe('what the kernel itself looks at', () => {
  test('BUG_ON()', () => {
    const { machine } = guest();
    expect(found(tasks(machine, () => bug_on(true, 'count', 'It is -1.')))).toEqual([
      'property: It is -1.',
    ]);
    expect(found(tasks(machine, () => bug_on(false, 'count', 'It is -1.')))).toEqual([]);
  });

  test('the struct page of a page that is gone', () => {
    const { machine, Q } = guest();
    const uses = (): Steps<void> => page_is_owned(Q, 'struct page of Q');
    expect(found(tasks(machine, uses))).toEqual([]);
    expect(found(tasks(machine, uses, () => free_frame(Q)))).toEqual([
      'use-after-free: CPU0 uses struct page of Q after CPU1 has freed Q.',
    ]);
  });
});
