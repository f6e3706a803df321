import { describe, expect, test } from 'vitest';
import { x86_64_descriptor } from '../../src/arch/x86-64-machine.ts';
import { explore } from '../../src/explore/explore.ts';
import { new_mm, new_page } from '../../src/kernel/boot.ts';
import { fast_page_fault } from '../../src/kernel/arch/x86/kvm/fast_page_fault.ts';
import { mmu_set_spte } from '../../src/kernel/arch/x86/kvm/mmu-map.ts';
import { mmu_spte_get } from '../../src/kernel/arch/x86/kvm/mmu-spte.ts';
import { rmap_write_protect } from '../../src/kernel/arch/x86/kvm/mmu-wp.ts';
import { drop_spte, kvm_unmap_gfn_range } from '../../src/kernel/arch/x86/kvm/mmu-zap.ts';
import { rmap_sptes } from '../../src/kernel/arch/x86/kvm/pte-list.ts';
import { kvm_rmap_age_gfn_range } from '../../src/kernel/arch/x86/kvm/rmap-age.ts';
import { kvm_rmap_get } from '../../src/kernel/arch/x86/kvm/rmap.ts';
import { shadow_mmu_ops } from '../../src/kernel/arch/x86/kvm/shadow-ops.ts';
import {
  gfn_to_rmap,
  leaf_at,
  new_shadow_vm,
  type ShadowMapping,
} from '../../src/kernel/arch/x86/kvm/shadow-page.ts';
import {
  is_access_track_spte,
  is_mmu_writable_spte,
  is_shadow_present_pte,
  is_writable_pte,
} from '../../src/kernel/arch/x86/kvm/spte.ts';
import type { Kvm, RetPf, Vcpu } from '../../src/kernel/virt/kvm/types.ts';
import { vcpu_run } from '../../src/kernel/virt/kvm/vcpu.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Page } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { all_sanitizers } from '../../src/sanitizers/index.ts';
import { tasks } from '../zoo/tables.ts';

interface Guest {
  readonly kvm: Kvm;
  readonly vcpu: Vcpu;
  readonly X: Page;
}

/** A guest whose frame 0 is mapped at the places that `maps` names, as it says. */
function guest(tables: string, mapping: Omit<ShadowMapping, 'page'> | null, places = [0]): Guest {
  const machine = new Machine({
    arch: x86_64_descriptor,
    cpus: ['CPU0', 'CPU1'].map((name) => ({ name, virtual: false })),
    sanitizers: all_sanitizers,
  });
  const X = new_page(machine, 'X', 1);
  const mm = new_mm(machine, 'mm', {}, { on: [], tables: [0] });
  const mapped = mapping ? places.map((place) => [place, { page: X, ...mapping }] as const) : [];
  const kvm = new_shadow_vm(machine, mm, 'kvm', shadow_mmu_ops(), {
    tables,
    vcpus: ['CPU0'],
    mapped: Object.fromEntries(mapped),
    tables_for: places,
    shadowed: { 0: places },
  });
  machine.cells.settle();
  return { kvm, vcpu: kvm.vcpus[0] as Vcpu, X };
}

/** What the steps return, executed alone. */
function alone<T>({ kvm }: Guest, steps: () => Steps<T>): T {
  let value: T | undefined;
  const program = tasks(kvm.machine, function* () {
    value = yield* steps();
  });
  const { violations } = explore(program);
  expect([...violations.values()].map(({ violation }) => violation.message)).toEqual([]);
  return value as T;
}

/** Where the entries of guest frame 0 are, by the names of their words. */
function* chain({ kvm }: Guest): Steps<string[]> {
  const head = gfn_to_rmap(kvm, 0);
  const found = yield* rmap_sptes(kvm, head, yield* kvm_rmap_get(head.val));
  return found.map((sptep) => kvm.machine.memory.resolve(sptep).name);
}

describe('the reverse map', () => {
  test('of one entry points to it, of two to a desc, and of none to nothing', () => {
    const g = guest('ept', null, [0, 512]);
    const seen = alone(g, function* () {
      const lists: string[][] = [];
      for (const place of [0, 512]) {
        yield* mmu_set_spte(g.kvm, leaf_at(g.kvm, place), g.X, true);
        lists.push(yield* chain(g));
      }
      for (const place of [0, 512]) {
        yield* drop_spte(g.kvm, leaf_at(g.kvm, place));
        lists.push(yield* chain(g));
      }
      return lists;
    });
    expect(seen).toEqual([['sp[0]'], ['sp[0]', 'sp2[0]'], ['sp2[0]'], []]);
  });

  test('leads to all entries of a frame that is unmapped', () => {
    const g = guest('ept', {}, [0, 512]);
    const seen = alone(g, function* () {
      const flush = yield* kvm_unmap_gfn_range(g.kvm, 0, 1);
      const again = yield* kvm_unmap_gfn_range(g.kvm, 0, 1);
      return [flush, again, (yield* chain(g)).length];
    });
    expect(seen).toEqual([true, false, 0]);
  });
});

describe('a fast page fault', () => {
  const FAULTS: [
    string,
    Omit<ShadowMapping, 'page'> | null,
    boolean,
    string,
    RetPf | 'RET_PF_INVALID',
  ][] = [
    ['a store to a page that is logged', { writable: false }, true, 'ept', 'RET_PF_FIXED'],
    ['a store to a page that is writable', {}, true, 'ept', 'RET_PF_SPURIOUS'],
    [
      'a store to a page table of the guest',
      { mmu_writable: false, writable: false },
      true,
      'ept',
      'RET_PF_INVALID',
    ],
    ['a store where nothing is mapped', null, true, 'ept', 'RET_PF_INVALID'],
    ['a load where there are accessed bits', {}, false, 'ept', 'RET_PF_INVALID'],
    ['a load from a page that is watched', { accessed: false }, false, 'ept_no_ad', 'RET_PF_FIXED'],
    ['a store to a page that is watched', { accessed: false }, true, 'ept_no_ad', 'RET_PF_FIXED'],
    [
      'a store to a page table that is watched',
      { accessed: false, mmu_writable: false, writable: false },
      true,
      'ept_no_ad',
      'RET_PF_INVALID',
    ],
  ];

  test.each(FAULTS)('%s', (_what, mapping, write, tables, expected) => {
    const g = guest(tables, mapping);
    const fault = { gfn: 0, write, present: true };
    const [ret, spte] = alone(g, function* () {
      const answer = yield* fast_page_fault(g.vcpu, fault);
      return [answer, yield* mmu_spte_get(leaf_at(g.kvm, 0))] as const;
    });
    expect(ret).toBe(expected);
    if (ret !== 'RET_PF_FIXED') return;
    expect(is_writable_pte(g.kvm, spte)).toBe(write);
    expect(is_access_track_spte(g.kvm, spte)).toBe(false);
  });

  test.each(['ept', 'npt', 'shadow', 'ept_no_ad'])('lets the guest go on: %s', (tables) => {
    const g = guest(tables, { writable: false });
    const { violations } = explore(
      tasks(g.kvm.machine, () => vcpu_run(g.vcpu, { gpa: 0, value: 7n })),
    );
    expect([...violations.values()].map(({ violation }) => violation.message)).toEqual([]);
  });
});

describe('write protection', () => {
  test.each([
    ['for the log', false, true],
    ['of a page table', true, false],
  ])('%s', (_what, pt_protect, stays) => {
    const g = guest('ept', {});
    const [flush, spte] = alone(g, function* () {
      const must = yield* rmap_write_protect(g.kvm, 0, pt_protect);
      return [must, yield* mmu_spte_get(leaf_at(g.kvm, 0))] as const;
    });
    expect(flush).toBe(true);
    expect(is_writable_pte(g.kvm, spte)).toBe(false);
    expect(is_mmu_writable_spte(g.kvm, spte)).toBe(stays);
  });

  test('of what is read-only already: a page table must be flushed all the same', () => {
    const g = guest('ept', { writable: false });
    expect(alone(g, () => rmap_write_protect(g.kvm, 0, false))).toBe(false);
    const h = guest('ept', { writable: false });
    expect(alone(h, () => rmap_write_protect(h.kvm, 0, true))).toBe(true);
  });
});

test.each(['ept', 'npt', 'shadow', 'ept_no_ad'])('aging forgets the use: %s', (tables) => {
  const g = guest(tables, {});
  const [first, second, spte] = alone(g, function* () {
    yield* kvm_rmap_age_gfn_range(g.kvm, 0, 1, true); // asks only
    const was = yield* kvm_rmap_age_gfn_range(g.kvm, 0, 1, false);
    const is = yield* kvm_rmap_age_gfn_range(g.kvm, 0, 1, false);
    return [was, is, yield* mmu_spte_get(leaf_at(g.kvm, 0))] as const;
  });
  expect([first, second]).toEqual([true, false]);
  expect(is_shadow_present_pte(g.kvm, spte)).toBe(true);
});
