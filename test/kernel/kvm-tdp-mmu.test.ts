import { describe, expect, test } from 'vitest';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { FROZEN_SPTE } from '../../src/arch/kvm-spte.ts';
import { SPTE_MASKS } from '../../src/arch/kvm-spte-masks.ts';
import { ept_tables } from '../../src/arch/ept.ts';
import { npt_tables } from '../../src/arch/npt.ts';
import { explore } from '../../src/explore/explore.ts';
import type { Program } from '../../src/explore/run.ts';
import { patch, type Patch } from '../../src/machine/fn.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Page, Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { write_lock, write_unlock } from '../../src/machine/ops/locks.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { free_frame } from '../../src/machine/ops/pages.ts';
import { new_mm, new_page } from '../../src/kernel/boot.ts';
import { is_page_fault_stale, tdp_mmu_ops } from '../../src/kernel/arch/x86/kvm/tdp_fault.ts';
import {
  is_access_track_spte,
  is_accessed_spte,
  is_dirty_spte,
  is_last_spte,
  is_shadow_present_pte,
  is_writable_pte,
  make_spte,
  mark_spte_for_access_track,
  restore_acc_track_spte,
  spte_has_volatile_bits,
} from '../../src/kernel/arch/x86/kvm/spte.ts';
import { kvm_tdp_mmu_map } from '../../src/kernel/arch/x86/kvm/tdp_mmu_map.ts';
import { new_vm } from '../../src/kernel/virt/kvm/boot.ts';
import type { Kvm } from '../../src/kernel/virt/kvm/types.ts';
import { kvm_flush_remote_tlbs, vcpu_run } from '../../src/kernel/virt/kvm/vcpu.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { found } from '../sanitizers/found.ts';
import { tasks } from '../zoo/tables.ts';

const KINDS = ['ept', 'ept_no_ad', 'npt'];

interface Guest {
  readonly machine: Machine;
  readonly kvm: Kvm;
  readonly X: Page;
  /** The host maps X for the guest. */
  readonly host: Word;
}

/** A virtual machine of one guest frame, not mapped yet; there is no leaf table either. */
function guest(tables: string): Guest {
  const machine = new Machine({
    arch: x86_64_descriptor,
    cpus: ['CPU0', 'CPU1'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const X = new_page(machine, 'X', 1);
  const host = machine.memory.variable('host maps X', 1);
  const mm = new_mm(machine, 'mm', {}, { on: [], tables: [0] });
  const ops = tdp_mmu_ops(function* () {
    const mapped = yield* READ_ONCE(host);
    return mapped === 1 ? { page: X, map_writable: true } : null;
  });
  const memslots = [[{ id: 0, base_gfn: 0, npages: 1, userspace_addr: 0 }]];
  const kvm = new_vm(machine, mm, 'kvm', ops, { vcpus: ['CPU0'], tables, memslots });
  machine.cells.settle();
  return { machine, kvm, X, host };
}

/** What the host's own unmapping does, notifier calls included. */
function* unmap({ kvm, X, host }: Guest): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  yield* WRITE_ONCE(kvm.mmu_invalidate_in_progress, 1);
  if (yield* kvm.mmu.unmap_gfn_range(kvm, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
  yield* write_unlock(kvm.mmu_lock);
  yield* WRITE_ONCE(host, 0);
  yield* free_frame(X);
  yield* write_lock(kvm.mmu_lock);
  yield* WRITE_ONCE(kvm.mmu_invalidate_seq, 1);
  yield* WRITE_ONCE(kvm.mmu_invalidate_in_progress, 0);
  yield* write_unlock(kvm.mmu_lock);
}

function race(g: Guest, patches: readonly Patch[] = []): Program {
  const program = tasks(
    g.machine,
    () => vcpu_run(g.kvm.vcpus[0]!, { gpa: 0, value: 1n }),
    () => unmap(g),
  );
  return { ...program, patches: new Map(patches.map((it) => [it.target, it.replacement])) };
}

describe('a fault of the guest, and an unmapping by the host', () => {
  test.each(KINDS)('%s', (tables) => {
    expect(found(race(guest(tables)))).toEqual([]);
  });

  test('what was found before the unmapping is mapped after it', () => {
    const no_check = patch(is_page_fault_stale, function* () {
      return false;
    });
    expect(found(race(guest('ept'), [no_check])).join()).toContain('stale-translation');
  });

  test('two vCPUs map the same guest frame: one of them does', () => {
    const g = guest('ept');
    const vcpu = g.kvm.vcpus[0]!;
    const fault = { gfn: 0, write: true, present: false };
    const answers = new Set<string>();
    const maps = function* (): Steps<unknown> {
      const r = yield* kvm_tdp_mmu_map(vcpu, fault, { page: g.X, map_writable: true });
      answers.add(r);
      return r;
    };
    expect(explore(tasks(g.machine, maps, maps)).violations.size).toBe(0);
    expect([...answers].sort()).toEqual(['RET_PF_FIXED', 'RET_PF_RETRY', 'RET_PF_SPURIOUS']);
  });
});

describe('entries', () => {
  test.each(KINDS)('of %s: made, tracked, restored', (tables) => {
    const { kvm, X } = guest(tables);
    const spte = make_spte(kvm, 0, X, { write: true });
    expect(is_shadow_present_pte(kvm, spte)).toBe(true);
    expect([spte.present, spte.frame, spte.generation]).toEqual([true, X.frame, X.generation]);
    expect(is_last_spte(kvm, spte, 0)).toBe(true);
    expect(is_accessed_spte(kvm, spte) && is_dirty_spte(kvm, spte)).toBe(true);
    expect(spte_has_volatile_bits(kvm, spte)).toBe(false);
    const old = mark_spte_for_access_track(kvm, spte, 0);
    expect(is_accessed_spte(kvm, old)).toBe(false);
    expect(is_shadow_present_pte(kvm, old)).toBe(true);
    expect(spte_has_volatile_bits(kvm, old)).toBe(true);
    expect(old.present).toBe(!is_access_track_spte(kvm, old));
    if (!is_access_track_spte(kvm, old)) return;
    const restored = restore_acc_track_spte(kvm, old, 0);
    expect(is_writable_pte(kvm, restored)).toBe(false);
    expect(restored.bits).toBe(spte.bits & ~2n);
  });

  test('of huge pages, and those that are read-only', () => {
    const { kvm, X } = guest('npt');
    const huge = make_spte(kvm, 1, X, { write: false, host_writable: true });
    expect([huge.frame, huge.table, is_last_spte(kvm, huge, 1)]).toEqual([X.frame, false, true]);
    expect(is_writable_pte(kvm, huge) || is_dirty_spte(kvm, huge)).toBe(false);
  });

  test('their bits are those of the formats', () => {
    const names = {
      present: 'SPTE',
      accessed: 'A',
      host_writable: 'HOST_W',
      mmu_writable: 'MMU_W',
    };
    for (const [kind, { formats }] of [
      ['ept', ept_tables],
      ['npt', npt_tables],
    ] as const) {
      const page = formats.find(
        ({ name, only }) => name === '4 KiB page of KVM' && only === 'KVM 6.1, 6.12',
      )!;
      const masks = SPTE_MASKS[kind]!;
      for (const [mask, name] of Object.entries({ ...names, dirty: 'D' })) {
        const field = page.fields.find((it) => it.name === name)!;
        expect(masks[mask as keyof typeof masks]).toBe(1n << BigInt(field.low));
      }
      expect(FROZEN_SPTE['v6.12'] & masks.accessed).not.toBe(0n); // what an AND would clear
      expect(FROZEN_SPTE['v6.12'] & masks.present).toBe(0n);
    }
  });
});
