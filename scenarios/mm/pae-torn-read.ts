// x86-32 PAE: low, high, and low again.  When do the two halves that are read belong together?
// linux v6.12 include/linux/pgtable.h (ptep_get_lockless); linux-mm, 24 October 2022, "Re: [PATCH 01/13]
// mm: Update ptep_get_lockless()s comment"; specification sections 2.3 to 2.7.
import { fails, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_pae } from 'gracewalk/arch';
import {
  flush_tlb_multi,
  get_user_pages_fast,
  gup_entries_unchanged,
  kvm_flush_tlb_multi,
  kvm_host,
  load_entry_high_first,
  mprotect,
  new_mm,
  new_page,
  perf_get_page_size,
  pmd_off,
  pmdp_get,
  pte_offset_map_lock,
  pte_page,
  pte_unmap_unlock,
  ptep_get,
  ptep_get_and_clear,
  read_entry,
  replace_page,
  same,
  set_tlb_ubc_flush_pending,
  type Mm,
  type MmOptions,
  type Page,
  type Pmdp,
} from 'gracewalk/linux';

const ADDR = 0x1000;

const PERF = ['ipi', 'ipi, distinct low halves', 'pv, distinct low halves'];
const GUP = [
  'gup, pv',
  'gup, mprotect',
  'gup, mprotect and reclaim, atomic re-check',
  'gup, mprotect and reclaim, high half first',
];
const NO_RECHECK = patch(gup_entries_unchanged, function* () {
  return true;
});

interface State {
  readonly mm: Mm;
  readonly pmdp: Pmdp;
  readonly B: Page;
}

/** The frame numbers of A, B and Z: their lowest 20 bits are in the low half of an entry. */
function pages(m: Machine, a: number, b: number, options: MmOptions = {}): State {
  const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'A', 0, a) }, { ...DATA, ...options });
  new_page(m, 'Z', 1, 0x5000); // somebody else's, and where A's low half alone would lead
  return { mm, pmdp: pmd_off(m, mm, ADDR), B: new_page(m, 'B', 1, b) };
}

/** A and B are a multiple of 4 GiB apart. */
const SAME_LOW_HALF = (m: Machine): State => pages(m, 0x105000, 0x305000);
const DISTINCT_LOW_HALVES = (m: Machine): State => pages(m, 0x105000, 0x206000);

const DATA = { writable: true, executable: false };
const CODE = { writable: true, executable: true };

const ON_TWO_OF_THREE = (m: Machine): State =>
  pages(m, 0x105000, 0x305000, { on: ['CPU0', 'CPU1'] });

const PV_MACHINE = {
  machine: x86_pae.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }), // the host: once, anywhere
  patches: [patch(flush_tlb_multi, kvm_flush_tlb_multi)], // pv_ops.mmu.flush_tlb_multi
};
const perf = ({ mm }: State) => perf_get_page_size(mm, ADDR);
const gup = ({ mm }: State) => get_user_pages_fast(mm, ADDR);
/** The page is replaced, with a flush between the old entry and the new one. */
const replace = ({ mm, pmdp, B }: State) => replace_page(mm, pmdp, ADDR, B);
/** The same page gets other permissions: NX is in the high half. The flush comes when the lock is dropped. */
const permit = ({ mm, pmdp }: State) => mprotect(mm, pmdp, ADDR, DATA, CODE);

/** try_to_unmap_one() of reclaim, on a CPU of its own: the flush is deferred, and what follows it left out. */
function* unmap({ mm, pmdp }: State) {
  const locked = yield* pte_offset_map_lock(mm, pmdp, ADDR);
  if (!locked) return null;
  const pte = yield* ptep_get_and_clear(locked.ptep);
  if (pte.present) yield* set_tlb_ubc_flush_pending(mm);
  yield* pte_unmap_unlock(locked.ptl);
  return pte.present ? pte_page(pte) : null;
}

const THREE = {
  machine: x86_pae({ cpus: 3 }),
  setup: ON_TWO_OF_THREE,
  run: { CPU0: gup, CPU1: permit, CPU2: unmap },
};

export default scenario<State>('pae-torn-read', {
  machine: x86_pae({ cpus: 2 }),
  host: kvm_host,

  setup: SAME_LOW_HALF,

  run: { CPU0: perf, CPU1: replace },

  sometimes: {
    'the walker finds a page': only(PERF, returned(perf_get_page_size, true)),
    'the walker finds nothing': only(PERF, returned(perf_get_page_size, false)),
    'a page is returned': only(
      GUP,
      returned(get_user_pages_fast, (page) => page !== null),
    ),
    'the re-check fails': only(GUP, returned(gup_entries_unchanged, false)),
  },

  variants: {
    // Who believes what he reads. The interrupt of the flush waits for him.
    ipi: safe({ shows: ['mm:C6'] }),
    'ipi, distinct low halves': safe({ shows: ['mm:C6'], setup: DISTINCT_LOW_HALVES }),
    // The paravirtual flush does not, so the entry is cleared and set while he reads.
    pv: fails('torn-entry', {
      shows: ['M2.6', 'L4', 'mm:C7'],
      ...PV_MACHINE,
      run: { vCPU0: perf, vCPU1: replace },
    }),
    'pv, distinct low halves': safe({
      ...PV_MACHINE,
      setup: DISTINCT_LOW_HALVES,
      run: { vCPU0: perf, vCPU1: replace },
    }),
    // Nor does mprotect(), whose flush comes too late to be waited for.
    'ipi, mprotect': fails('torn-entry', {
      shows: ['M2.7', 'mm:C8'],
      run: { CPU0: perf, CPU1: permit },
    }),
    // GUP-fast reads the entry again: a reference on Z that is dropped, and no wrong page.
    'gup, pv': safe({
      shows: ['mm:C7'],
      ...PV_MACHINE,
      run: { vCPU0: gup, vCPU1: replace },
    }),
    'gup, pv, no re-check': fails(['torn-entry', 'wrong-page'], {
      ...PV_MACHINE,
      patches: [...PV_MACHINE.patches, NO_RECHECK],
      run: { vCPU0: gup, vCPU1: replace },
    }),
    'gup, mprotect': safe({ shows: ['mm:C8'], run: { CPU0: gup, CPU1: permit } }),
    // The re-check is a load of two halves as well: each can be found unchanged in another entry.
    'gup, mprotect and reclaim': fails(['torn-entry', 'wrong-page'], {
      shows: ['M2.8', 'L5', 'mm:C8'],
      ...THREE,
    }),
    'gup, mprotect and reclaim, atomic re-check': safe({
      shows: ['mm:C8'],
      ...THREE,
      patches: [
        patch(gup_entries_unchanged, function* (pmd, pmdp, pte, ptep) {
          return same(pmd, yield* pmdp_get(pmdp)) && same(pte, yield* read_entry(ptep));
        }),
      ],
    }),
    // A compiler may as well load the high half first: then one reclaim is not enough.
    'gup, mprotect and reclaim, high half first': safe({
      ...THREE,
      patches: [
        patch(ptep_get, function* (ptep) {
          return yield* load_entry_high_first(ptep, 0);
        }),
      ],
    }),
    'gup, mprotect, no re-check': fails(['torn-entry', 'wrong-page'], {
      patches: [NO_RECHECK],
      run: { CPU0: gup, CPU1: permit },
    }),
  },
});
