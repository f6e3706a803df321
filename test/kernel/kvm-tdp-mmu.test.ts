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
import { PAGE_SIZE, type Page } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { new_mm, new_page, pte_off } from '../../src/kernel/boot.ts';
import { folio_put } from '../../src/kernel/mm/page-ref.ts';
import { ptep_get_and_clear } from '../../src/kernel/mm/pgtable.ts';
import type { Ptep } from '../../src/kernel/mm/types.ts';
import { new_tdp_vm, type TdpVmOptions } from '../../src/kernel/arch/x86/kvm/tdp_boot.ts';
import { is_page_fault_stale } from '../../src/kernel/virt/kvm/fault.ts';
import {
  kvm_mmu_notifier_invalidate_range_end,
  kvm_mmu_notifier_invalidate_range_start,
} from '../../src/kernel/virt/kvm/kvm_main.ts';
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
import {
  kvm_tdp_mmu_map,
  tdp_mmu_link_sp,
  tdp_mmu_split_huge_page,
} from '../../src/kernel/arch/x86/kvm/tdp_mmu_map.ts';
import { kvm_x86_vcpu_run } from '../../src/kernel/arch/x86/kvm/guest-stay.ts';
import { hv_flush_remote_tlbs } from '../../src/kernel/arch/x86/kvm/hyperv-tlb.ts';
import type { Kvm, Vcpu } from '../../src/kernel/virt/kvm/types.ts';
import { kvm_flush_remote_tlbs } from '../../src/kernel/virt/kvm/vcpu.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { found } from '../sanitizers/found.ts';
import { tasks } from '../zoo/tables.ts';

const KINDS = ['ept', 'ept_no_ad', 'npt'];

interface Guest {
  readonly machine: Machine;
  readonly kvm: Kvm;
  readonly X: Page;
  readonly ptep: Ptep;
}

/** A virtual machine of one guest frame, which is X and not mapped yet; or of two, in a huge page. */
function guest(tables: string, options: Partial<TdpVmOptions> = {}): Guest {
  const machine = new Machine({
    arch: x86_64_descriptor,
    cpus: ['CPU0', 'CPU1'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const X = new_page(machine, 'X');
  const mm = new_mm(machine, 'mm', options.huge ? { 0: X, [PAGE_SIZE]: X } : { 0: X }, { on: [] });
  const huge = options.huge ? { huge: { 0: X }, npages: 2 } : {};
  const kvm = new_tdp_vm(machine, mm, 'kvm', { vcpus: ['CPU0'], tables, ...options, ...huge });
  const ptep = pte_off(machine, mm, 0);
  machine.cells.settle();
  return { machine, kvm, X, ptep };
}

/** The host unmaps X and frees it. */
function* unmap({ kvm, X, ptep }: Guest): Steps<void> {
  yield* kvm_mmu_notifier_invalidate_range_start(kvm, 0, PAGE_SIZE);
  yield* ptep_get_and_clear(ptep);
  yield* folio_put(X);
  yield* kvm_mmu_notifier_invalidate_range_end(kvm, 0, PAGE_SIZE);
}

/** The guest faults once and runs on; flushes are hypercalls. */
function race(g: Guest, patches: readonly Patch[] = [], gfn = 0): Program {
  const [vcpu] = g.kvm.vcpus as [Vcpu];
  const faults = function* (): Steps<void> {
    yield* g.kvm.mmu.page_fault(vcpu, { gfn, write: true, present: false });
    yield* kvm_x86_vcpu_run(vcpu, { gpa: gfn * PAGE_SIZE, value: 1n });
  };
  const program = tasks(g.machine, faults, () => unmap(g));
  const all = [patch(kvm_flush_remote_tlbs, hv_flush_remote_tlbs), ...patches];
  return { ...program, patches: new Map(all.map((it) => [it.target, it.replacement])) };
}

describe('a fault of the guest, and an unmapping by the host', () => {
  test.each(KINDS)('%s', (tables) => {
    expect(found(race(guest(tables)))).toEqual([]);
  });

  test('what was found before the unmapping is mapped after it', () => {
    const no_check = patch(is_page_fault_stale, function* () {
      return false;
    });
    expect(found(race(guest('npt'), [no_check])).join()).toContain('stale-translation');
  });

  test('a huge page is split: its table maps what it did', () => {
    const huge = (): Guest => guest('ept', { huge: {} });
    expect(found(race(huge(), [], 1))).toEqual([]);
    const empty = patch(tdp_mmu_split_huge_page, function* (kvm, iter, sp) {
      return yield* tdp_mmu_link_sp(kvm, iter, sp);
    });
    expect(found(race(huge(), [empty], 1)).join()).toContain(
      'when invalidate_range_start() returns',
    );
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
