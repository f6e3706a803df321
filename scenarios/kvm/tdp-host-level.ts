// KVM looks at the host's page tables to see how large a page it may map.  Meanwhile the host removes the table of
// PMDs, as munmap() does with the last page of a GiB.
// linux v6.12 arch/x86/kvm/mmu/mmu.c (host_pfn_mapping_level), mm/memory.c (free_pmd_range).
import {
  fails,
  fn,
  nop,
  patch,
  returned,
  safe,
  scenario,
  touched,
  type Machine,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  host_pfn_mapping_level,
  local_irq_restore,
  local_irq_save,
  new_mm,
  offset_lockless,
  p4dp_get,
  pgd_offset,
  pgdp_get,
  pmd_clear,
  pmdp_get,
  pte_free_tlb,
  pte_page,
  pud_clear,
  pudp_get,
  read_lock,
  read_unlock,
  tlb_finish_mmu,
  tlb_gather_mmu,
  type Mm,
  type Page,
  type Pmdp,
} from 'gracewalk/linux';

const HVA = 0x1000;
const MiB2 = 2 ** 21;
const GiB = 2 ** 30;
const sourceOf = ({ frame, index }: Pmdp): number => frame * PAGE_SIZE + index * 8;

interface State {
  readonly mm: Mm;
  readonly pmd: Page;
  readonly mmu_lock: Word;
}

/** The process has its tables, and nothing is mapped any more. */
const guest = (m: Machine): State => {
  const mm = new_mm(m, 'mm', {}, { tables: [HVA] });
  const pmd = m.memory.page(m.memory.frameByName.get('pmd') as number, 1);
  return { mm, pmd, mmu_lock: m.memory.variable('kvm->mmu_lock') };
};

/** Where huge pages could be mapped instead of small ones: with mmu_lock, and whatever invalidations there are. */
const max_level = fn(function* kvm_mmu_max_mapping_level({ mm, mmu_lock }: State) {
  yield* read_lock(mmu_lock);
  const level = yield* host_pfn_mapping_level(mm, HVA);
  yield* read_unlock(mmu_lock);
  return level;
});

/** free_pmd_range(): unhooks the table of PMDs, and the one of PTEs below it, and frees them with the flush. */
const free_pmd_range = fn(function* free_pmd_range({ mm }: State) {
  const tlb = yield* tlb_gather_mmu(mm);
  const pgd = yield* pgdp_get(pgd_offset(mm, HVA));
  const p4d = yield* p4dp_get(offset_lockless(mm, pgd, 3, HVA));
  const pudp = offset_lockless(mm, p4d, 2, HVA) as Pmdp;
  const pud = yield* pudp_get(pudp);
  const pmdp = offset_lockless(mm, pud, 1, HVA);
  const pmd = yield* pmdp_get(pmdp);
  yield* pmd_clear(pmdp);
  yield* pte_free_tlb(tlb, pte_page(pmd), { source: sourceOf(pmdp), bits: pmd.bits }, 0, MiB2);
  yield* pud_clear(pudp);
  yield* pte_free_tlb(tlb, pte_page(pud), { source: sourceOf(pudp), bits: pud.bits }, 0, GiB);
  yield* tlb_finish_mmu(tlb);
});

const BY_INTERRUPT = { MMU_GATHER_TABLE_FREE: false, MMU_GATHER_RCU_TABLE_FREE: false };
const BY_RCU = { MMU_GATHER_TABLE_FREE: true, MMU_GATHER_RCU_TABLE_FREE: true };
const IRQS_ON = [patch(local_irq_save, nop), patch(local_irq_restore, nop)];
const NO_LOCK = [patch(read_lock, nop), patch(read_unlock, nop)];

export default scenario<State>('tdp-host-level', {
  machine: x86_64({ cpus: 2 }),
  config: BY_INTERRUPT,
  setup: guest,

  run: { CPU0: max_level, CPU1: free_pmd_range },

  sometimes: {
    'the walk is in a table that is unhooked': touched('CPU0', ({ pmd }) => pmd, 'unlinked'),
    'the tables are freed': returned(free_pmd_range, undefined),
  },

  variants: {
    // The flush that comes before the free is an interrupt.
    'interrupts off': safe(),
    'interrupts off, no mmu_lock': safe({ patches: NO_LOCK }),
    'interrupts on': fails('use-after-free', { shows: ['X25'], patches: IRQS_ON }),
    // Tables are freed after a grace period (PARAVIRT). mmu_lock turns preemption off, which holds that up.
    'interrupts off, RCU': safe({ config: BY_RCU }),
    'interrupts on, RCU': safe({ config: BY_RCU, patches: IRQS_ON }),
    'interrupts on, RCU, no mmu_lock': fails('use-after-free', {
      shows: ['X25'],
      config: BY_RCU,
      patches: [...IRQS_ON, ...NO_LOCK],
    }),
  },
});
