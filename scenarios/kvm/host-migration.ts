// A page is moved while the guest faults on it: who moves it waits until nobody else has a reference.
// linux v6.12 arch/x86/kvm/mmu/mmu.c (kvm_tdp_mmu_page_fault), mm/migrate.c; specification of the secondary
// MMUs, section 2.3. The kernel's mover gives up in the end; here it goes on until it succeeds.
import { fails, patch, returned, safe, scenario, type Machine, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  AGAIN,
  PAGE_SIZE,
  __folio_put,
  folio_ref_freeze,
  invalidating,
  kvm_faultin_pfn,
  kvm_release_faultin_page,
  kvm_tdp_page_fault,
  mmu_invalidate_retry_gfn,
  new_host_vm,
  new_mm,
  new_page,
  pte_off,
  ptep_clear_flush,
  read_lock,
  read_unlock,
  retry,
  type Kvm,
  type Mm,
  type Page,
  type Ptep,
  type RetPf,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly ptep: Ptep;
  readonly P: Page;
}

/** Moves P away: the entry goes, and then the references must be exactly the mapping's own. */
function* migrate({ mm, ptep, P }: State): Steps<void> {
  yield* ptep_clear_flush(mm, HVA, ptep);
  yield* retry(function* () {
    return (yield* folio_ref_freeze(mm.kernel, P, 1)) ? undefined : AGAIN;
  });
  yield* __folio_put(P);
}

export default scenario<State>('host-migration', {
  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const P = new_page(m, 'P');
    const mm = new_mm(m, 'mm', { [HVA]: P }, { on: [] });
    return { mm, P, ptep: pte_off(m, mm, HVA), kvm: new_host_vm(m, mm) };
  },

  run: {
    // The guest faults until it gets somewhere.
    *CPU0({ kvm }) {
      yield* retry<RetPf>(function* () {
        const fault = { gfn: 0, write: true, present: false };
        const ret = yield* kvm.mmu.page_fault(kvm.vcpus[0] as Vcpu, fault);
        return ret === 'RET_PF_RETRY' ? AGAIN : ret;
      });
    },
    CPU1: (state) => invalidating(state.kvm, HVA, PAGE_SIZE, () => migrate(state)),
  },

  sometimes: {
    'the page is moved': returned(folio_ref_freeze, true),
    'somebody has a reference': returned(folio_ref_freeze, false),
    'the fault is to be tried again': returned(mmu_invalidate_retry_gfn, true),
  },

  variants: {
    'reference dropped before trying again': safe({ shows: ['K13'] }),
    // K13: the fault waits for the end of the invalidation, which waits for the fault's reference.
    'reference held while trying again': fails('livelock', {
      shows: ['K13'],
      patches: [
        patch(kvm_tdp_page_fault, function* (vcpu, fault, map) {
          const { kvm } = vcpu;
          const found = yield* kvm_faultin_pfn(vcpu, fault);
          if (typeof found === 'string') return found;
          return yield* retry<RetPf>(function* () {
            yield* read_lock(kvm.mmu_lock);
            const stale = yield* mmu_invalidate_retry_gfn(kvm, found.mmu_seq, found.gfn);
            const ret = stale ? 'RET_PF_RETRY' : yield* map(vcpu, fault, found);
            if (!stale) yield* kvm_release_faultin_page(kvm, found, false);
            yield* read_unlock(kvm.mmu_lock);
            return stale ? AGAIN : ret;
          });
        }),
      ],
    }),
  },
});
