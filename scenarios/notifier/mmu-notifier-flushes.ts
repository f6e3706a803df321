// A device walks the process's tables and has a TLB of its own.  Which of the processors' flushes tell it?
// 6bbd42e2df8f "mmu_notifiers: call invalidate_range() when invalidating TLBs"; linux v6.12 arch/x86/mm/tlb.c,
// arch/x86/include/asm/tlbflush.h (arch_tlbbatch_add_pending), arch/arm64/include/asm/tlbflush.h,
// arch/powerpc/mm/book3s64/radix_tlb.c.
import {
  entered,
  fails,
  nop,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Steps,
} from 'gracewalk';
import { arm64, powerpc_radix, x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  arch_tlbbatch_add_pending,
  arch_tlbbatch_flush,
  folio_put,
  iotlb_flush_range,
  kernel_of,
  madvise_dontneed,
  mmu_notifier_arch_invalidate_secondary_tlbs,
  mmu_notifier_invalidate_range_end,
  mmu_notifier_invalidate_range_start,
  mmu_notifier_range_init,
  new_batch,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_sva_device,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  registered,
  sva_load,
  sva_ops,
  type Kernel,
  type Mm,
  type Ptep,
  type SvaDevice,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly ptep: Ptep;
  readonly smmu: SvaDevice;
}

/** shrink_folio_list() for one page: one flush for many pages, of no address space in particular. */
const BATCH = {
  run: {
    CPU0: ({ smmu }: State) => sva_load(smmu, ADDR),
    *CPU1({ kernel, mm, ptep }: State): Steps<void> {
      const batch = new_batch(kernel);
      const range = mmu_notifier_range_init(mm, ADDR, ADDR + PAGE_SIZE);
      yield* mmu_notifier_invalidate_range_start(range);
      const pte = yield* ptep_get_and_clear(ptep);
      yield* arch_tlbbatch_add_pending(batch, mm);
      yield* mmu_notifier_invalidate_range_end(range);
      yield* arch_tlbbatch_flush(batch);
      yield* folio_put(pte_page(pte));
    },
  },
};

const ON_ARM64 = { machine: arm64({ cpus: 2 }) };
const ON_POWERPC = { machine: powerpc_radix({ cpus: 2 }) };
/** X is freed while the device may still translate to it; or it does so later. */
const STALE = ['stale-translation', 'use-after-free'] as const;
const NOT_TOLD = [patch(mmu_notifier_arch_invalidate_secondary_tlbs, nop)];

export default scenario<State>('mmu-notifier-flushes', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  // No CPU runs the process: whoever flushes it flushes nothing but the device's TLB.
  setup(m: Machine) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }, { on: [] });
    const smmu = new_sva_device(m, mm, 'smmu');
    registered(m, new_mmu_notifier(m, mm, 'smmu->mmu_notifier', sva_ops(smmu)));
    return { kernel: kernel_of(m), mm, smmu, ptep: pte_off(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ smmu }) => sva_load(smmu, ADDR),
    CPU1: ({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'the device reads the page': returned(sva_load, (value) => value !== null),
    'the device finds nothing': returned(sva_load, null),
    'its TLB is flushed': entered('CPU1', iotlb_flush_range),
  },

  variants: {
    'x86, range': safe(),
    'x86, batch': safe(BATCH),
    'arm64, range': safe(ON_ARM64),
    'powerpc, range': safe(ON_POWERPC),
    'x86, range, not told': fails(STALE, { patches: NOT_TOLD }),
    'x86, batch, not told': fails(STALE, { ...BATCH, patches: NOT_TOLD }),
    'arm64, range, not told': fails(STALE, { ...ON_ARM64, patches: NOT_TOLD }),
    'powerpc, range, not told': fails(STALE, { ...ON_POWERPC, patches: NOT_TOLD }),
  },
});
