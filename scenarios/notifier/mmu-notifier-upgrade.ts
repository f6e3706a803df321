// A device that walks the process's tables has cached a page as read-only, and its store faults.
// linux v6.6 arch/arm64/mm/fault.c (ptep_set_access_flags), drivers/iommu/arm/arm-smmu-v3.
import {
  fails,
  fn,
  nop,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Steps,
  type Word,
} from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import {
  AGAIN,
  READ_ONCE,
  retry,
  WRITE_ONCE,
  iommu_sva_handle_mm,
  mmu_notifier_arch_invalidate_secondary_tlbs,
  new_mm,
  new_mmu_notifier,
  new_page,
  pte_off,
  ptep_get,
  registered,
  type Mm,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;

/** What the device's TLB says of the page. It is never replaced by another entry. */
const TLB = { nothing: 0, 'read-only': 1, writable: 2 };

interface State {
  readonly mm: Mm;
  readonly ptep: Ptep;
  readonly tlb: Word;
}

/** The device stores: by its TLB, or by a walk that fills it. `false`: it faults. */
const smmu_store = fn(function* smmu_store({ ptep, tlb }: State): Steps<boolean> {
  let cached = yield* READ_ONCE(tlb);
  if (cached === TLB.nothing) {
    cached = (yield* ptep_get(ptep)).writable ? TLB.writable : TLB['read-only'];
    yield* WRITE_ONCE(tlb, cached);
  }
  return cached === TLB.writable;
});

/** A store that faults is tried again when the fault has been handled. */
const device = fn(function* device(s: State): Steps<boolean> {
  return yield* retry(function* () {
    if (yield* smmu_store(s)) return true;
    yield* iommu_sva_handle_mm(s.mm, ADDR);
    return AGAIN;
  });
});

export default scenario<State>('mmu-notifier-upgrade', {
  machine: arm64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const names = Object.fromEntries(Object.entries(TLB).map(([name, value]) => [value, name]));
    const tlb = m.memory.variable('smmu->tlb', TLB['read-only'], names);
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }, { on: ['CPU1'], writable: false });
    const ops = {
      *arch_invalidate_secondary_tlbs() {
        yield* WRITE_ONCE(tlb, TLB.nothing);
      },
    };
    registered(m, new_mmu_notifier(m, mm, 'smmu->mmu_notifier', ops));
    return { mm, tlb, ptep: pte_off(m, mm, ADDR) };
  },

  // The process stores as well, and its fault may be the first.
  run: { CPU0: device, CPU1: ({ mm }) => iommu_sva_handle_mm(mm, ADDR) },

  sometimes: {
    'the device stores': returned(device, true),
    'it has faulted before': returned(smmu_store, false),
  },

  variants: {
    'told of every flush': safe({ shows: ['N15'] }),
    // N15: the entry permits the store, and what the device has cached does not, for ever.
    'told of what is taken away only': fails('livelock', {
      shows: ['N15'],
      patches: [patch(mmu_notifier_arch_invalidate_secondary_tlbs, nop)],
    }),
  },
});
