// A page that KVM maps for itself is looked up while it is taken away, and the cache is made valid all the same.
// linux virt/kvm/pfncache.c before and after 58cd407ca4c6.
import { fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  invalidating,
  kvm_gpc_refresh,
  kvm_gpc_write,
  mmu_notifier_retry_cache,
  mn_active_invalidations,
  new_host_vm,
  new_mm,
  new_page,
  pte_off,
  ptep_clear_flush,
  folio_put,
  type Kvm,
  type Mm,
  type Page,
  type PfnCache,
  type Ptep,
} from 'gracewalk/linux';

const HVA = 0;

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly gpc: PfnCache;
  readonly ptep: Ptep;
  readonly P: Page;
}

export default scenario<State>('gpc-refresh-races', {
  title: 'KVM writes to a page that the host has taken away',
  citation: 'linux commit 58cd407ca4c6 (the id is from memory), 2022',
  story:
    'KVM keeps some pages of a guest mapped for itself, such as the one with the time that was stolen from a ' +
    'vCPU, and has no reference on them: a notifier makes the mapping invalid before the page is freed. To look ' +
    'the page up anew, the refresh has to drop the lock of the mapping. A notifier that comes then finds the ' +
    'mapping invalid already and has nothing to do; the refresh comes back with a page that is gone by now, and ' +
    'makes the mapping valid. The code did look whether an invalidation was going on, but at a count that goes ' +
    'up only after such mappings have been made invalid, so there was a moment in which it saw none. The cure ' +
    'asks for the count that goes up first, and for the sequence of invalidations, both with the lock held.',

  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const P = new_page(m, 'P');
    const mm = new_mm(m, 'mm', { [HVA]: P }, { on: [] });
    const kvm = new_host_vm(m, mm, { gpcs: [0] });
    return { mm, kvm, P, ptep: pte_off(m, mm, HVA), gpc: kvm.gpcs[0] as PfnCache };
  },

  run: {
    *CPU0({ gpc }) {
      yield* kvm_gpc_refresh(gpc);
      yield* kvm_gpc_write(gpc, 100n);
    },
    *CPU1({ mm, kvm, ptep, P }) {
      yield* invalidating(kvm, HVA, PAGE_SIZE, () => ptep_clear_flush(mm, HVA, ptep));
      yield* folio_put(P);
    },
  },

  sometimes: {
    'the page is looked up again': returned(mmu_notifier_retry_cache, true),
    'KVM writes to the page': returned(kvm_gpc_write, true),
  },

  variants: {
    fixed: safe(),
    'believes what it has found': fails('use-after-free', {
      shows: ['bug:gpc-refresh-races'],
      patches: [
        patch(mmu_notifier_retry_cache, function* () {
          return false;
        }),
      ],
    }),
    'asks for the wrong count': fails('use-after-free', {
      shows: ['bug:gpc-refresh-races'],
      patches: [
        patch(mn_active_invalidations, function* (kvm) {
          return (yield* READ_ONCE(kvm.mmu_invalidate_in_progress)) !== 0;
        }),
      ],
    }),
  },
});
