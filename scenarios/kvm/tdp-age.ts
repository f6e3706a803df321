// Looking twice whether the guest has used a page, without a lock and without a flush, while the guest uses it.
// What may go wrong with the answer?  It may be old news: a translation that is cached is used unseen, and a
// mark may come or go a moment too late.  That costs time, when the page is reclaimed, and nothing else.
// linux v7.2 arch/x86/kvm/mmu/tdp_mmu.c (kvm_tdp_mmu_age_spte); specification of the secondary MMUs, section 10.
import { fn, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  age_spte_by_and,
  kvm_tdp_mmu_age_gfn_range_lockless,
  kvm_tdp_mmu_age_spte,
  kvm_tdp_mmu_map,
  kvm_x86_vcpu_run,
  new_mm,
  new_page,
  new_tdp_vm,
  read_lock,
  read_unlock,
  type Kvm,
  type Page,
  type Vcpu,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly vcpu: Vcpu;
  readonly X: Page;
}

const guest =
  (tables: string) =>
  (m: Machine): State => {
    const X = new_page(m, 'X', 1);
    const mm = new_mm(m, 'mm', {}, { on: [], tables: [0] });
    const kvm = new_tdp_vm(m, mm, 'kvm', { vcpus: ['CPU0'], tables, mapped: { 0: X } });
    return { kvm, vcpu: kvm.vcpus[0] as Vcpu, X };
  };

/** The guest stores to its page. Where its access is tracked it faults first, and is given it back. */
const vcpu_run = fn(function* vcpu_run({ kvm, vcpu, X }: State) {
  const access = { gpa: 0, value: 1n };
  if (yield* kvm_x86_vcpu_run(vcpu, access)) return 'at once';
  const fault = { gfn: 0, write: true, present: true };
  yield* read_lock(kvm.mmu_lock);
  yield* kvm_tdp_mmu_map(vcpu, fault, { page: X, map_writable: true });
  yield* read_unlock(kvm.mmu_lock);
  return (yield* kvm_x86_vcpu_run(vcpu, access)) ? 'after a fault' : 'not at all';
});

const look = fn(function* kvm_mmu_notifier_clear_young({ kvm }: State) {
  return yield* kvm_tdp_mmu_age_gfn_range_lockless(kvm, 0, 1, true);
});
const look_again = fn(function* kvm_mmu_notifier_test_young({ kvm }: State) {
  return yield* kvm_tdp_mmu_age_gfn_range_lockless(kvm, 0, 1, false);
});

export default scenario<State>('tdp-age', {
  machine: x86_64({ cpus: 2 }),
  setup: guest('ept'),

  run: {
    CPU0: vcpu_run,
    *CPU1(s) {
      yield* look(s);
      yield* look_again(s);
    },
  },

  sometimes: {
    'the page was used before': returned(look, true),
    'it was used again': returned(look_again, true),
    'it was not, or nobody saw it': returned(look_again, false),
    'the guest faulted for it': only(
      ['compare-and-exchange, no A/D bits'],
      returned(vcpu_run, 'after a fault'),
    ),
    'the guest did not notice': returned(vcpu_run, 'at once'),
  },

  variants: {
    'compare-and-exchange': safe(),
    'compare-and-exchange, npt': safe({ setup: guest('npt') }),
    'compare-and-exchange, no A/D bits': safe({ setup: guest('ept_no_ad') }),
    // As long as nobody freezes entries, what an AND does is what it was meant to do.
    and: safe({ patches: [patch(kvm_tdp_mmu_age_spte, age_spte_by_and)] }),
  },
});
