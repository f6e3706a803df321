// A page is replaced by a copy while a device uses it.  When must the device be told?
// linux v6.12 mm/memory.c (wp_page_copy), Documentation/mm/mmu_notifier.rst.
import {
  fails,
  patch,
  returned,
  safe,
  scenario,
  type Machine,
  type Steps,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  clear_spte,
  device_load,
  do_wp_page,
  flush_secondary_tlb,
  folio_add_rmap_pte,
  folio_remove_rmap_pte,
  iotlb_flush_range,
  mm_find_pmd,
  mmu_notifier_arch_invalidate_secondary_tlbs,
  new_mm,
  new_mmu_notifier,
  new_page,
  new_secondary_mmu,
  new_sva_device,
  pte_of,
  pte_offset_map_lock,
  pte_page,
  pte_unmap_unlock,
  ptep_get_and_clear,
  registered,
  replace_by_copy,
  set_pte_at,
  sva_load,
  sva_ops,
  user_store,
  x86_flush_tlb_mm_range,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const END = ADDR + PAGE_SIZE;

interface State {
  readonly mm: Mm;
  readonly load: () => Steps<bigint | null>;
  /** The process sets it after it has stored to the page. */
  readonly flag: Word;
  /** The device has seen the flag, and then the page without the store. */
  readonly late: Word;
}

/** X is shared with another process, so that a store needs a copy. */
function process(m: Machine): { mm: Mm; flag: Word; late: Word } {
  const mm = new_mm(
    m,
    'mm',
    { [ADDR]: new_page(m, 'X', 1) },
    { on: ['CPU0', 'CPU1'], writable: false },
  );
  return { mm, flag: m.memory.variable('flag'), late: m.memory.variable('late') };
}

/** The device walks the process's tables. */
function sva(m: Machine, atEnd: boolean): State {
  const { mm, ...words } = process(m);
  const device = new_sva_device(m, mm, 'smmu');
  const late = { invalidate_range_end: () => iotlb_flush_range(device, ADDR, END) };
  registered(m, new_mmu_notifier(m, mm, 'smmu->mmu_notifier', atEnd ? late : sva_ops(device)));
  return { mm, ...words, load: () => sva_load(device, ADDR) };
}

/** The device has tables of its own, and is told by the same method. */
function tables(m: Machine): State {
  const { mm, ...words } = process(m);
  const X = m.memory.page(m.memory.frame('X').index, 1);
  const device = new_secondary_mmu(m, mm, 'kvm', { mapped: { [ADDR]: X } });
  const ops = {
    *arch_invalidate_secondary_tlbs() {
      yield* clear_spte(device, ADDR);
      yield* flush_secondary_tlb(device);
    },
  };
  registered(m, new_mmu_notifier(m, mm, 'kvm->mmu_notifier', ops));
  return { mm, ...words, load: () => device_load(device, ADDR) };
}

/** N13, set_pte_at_notify() as it was: the processes have the new page, and then the device is told. */
const NOTIFIED_AFTER = patch(replace_by_copy, function* (mm, addr, orig_pte, copy) {
  const pmdp = yield* mm_find_pmd(mm, addr);
  const locked = pmdp && (yield* pte_offset_map_lock(mm, pmdp, addr));
  if (!locked) return false;
  yield* ptep_get_and_clear(locked.ptep);
  yield* x86_flush_tlb_mm_range(mm, addr, addr + PAGE_SIZE, false);
  yield* folio_add_rmap_pte(mm, copy);
  yield* set_pte_at(locked.ptep, pte_of(mm, copy, { writable: true }));
  yield* mmu_notifier_arch_invalidate_secondary_tlbs(mm, addr, addr + PAGE_SIZE);
  yield* folio_remove_rmap_pte(mm, pte_page(orig_pte));
  yield* pte_unmap_unlock(locked.ptl);
  return true;
});

export default scenario<State>('mmu-notifier-cow', {
  machine: x86_64({ cpus: 3 }),
  config: { MMU_NOTIFIER: true },
  setup: (m) => sva(m, false),

  run: {
    CPU0: ({ mm }) => do_wp_page(mm, ADDR),
    *CPU1({ mm, flag }) {
      if (yield* user_store(mm, ADDR, 1n)) yield* WRITE_ONCE(flag, 1);
    },
    *CPU2({ load, flag, late }) {
      const isSet = (yield* READ_ONCE(flag)) === 1;
      if (isSet && (yield* load()) === 0n) yield* WRITE_ONCE(late, 1);
    },
  },

  always: {
    'who has seen the flag sees the page': (v) => v.read(v.s.late) === 0,
  },

  sometimes: {
    'the page is replaced': returned(replace_by_copy, true),
    'the process stores to the copy': returned(user_store, true),
  },

  variants: {
    'shared tables': safe({ shows: ['N14'] }),
    'own tables': safe({ shows: ['N13'], setup: tables }),
    'own tables, told after the new page': fails('property', {
      shows: ['N13'],
      setup: tables,
      patches: [NOTIFIED_AFTER],
    }),
    'shared tables, told at the end': fails(['stale-translation', 'property'], {
      shows: ['N14'],
      setup: (m) => sva(m, true),
    }),
  },
});
