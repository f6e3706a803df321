// Which pages of a guest are in use?  Asked without mmu_lock, through the reverse map, while entries and shadow
// pages are taken away.  May aging touch what has been freed?  linux v6.15 arch/x86/kvm/mmu/mmu.c
// (kvm_rmap_age_gfn_range, kvm_rmap_lock_readonly); specification linux-kvm.md 3.5 and 13 (L3).
import {
  fails,
  fn,
  nop,
  only,
  patch,
  returned,
  safe,
  scenario,
  touched,
  type Machine,
  type Page,
  type Steps,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  kvm_flush_remote_tlbs,
  kvm_mmu_commit_zap_page,
  kvm_mmu_prepare_zap_page,
  kvm_rmap_age_gfn_range,
  kvm_rmap_get,
  kvm_rmap_lock_readonly,
  kvm_rmap_unlock_readonly,
  kvm_unmap_gfn_range,
  leaf_at,
  mmu_set_spte,
  new_mm,
  new_page,
  new_shadow_vm,
  preempt_disable,
  preempt_enable,
  rmap_was_purged,
  shadow_mmu_ops,
  sp_at,
  try_cmpxchg64,
  write_lock,
  write_unlock,
  type Kvm,
  type ShadowPage,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
  readonly X: Page;
  readonly sp: ShadowPage;
  readonly spt: Page;
}

/** The guest maps frame 0 at one address, or at `two`: then a desc keeps the entries' places. */
const shadowed = (tables: string, two = false) =>
  function setup(m: Machine): State {
    const mm = new_mm(m, 'mm', {}, { tables: [0] });
    const X = new_page(m, 'X', 1);
    const mapping = { page: X, dirty: false };
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_ops(), {
      tables,
      vcpus: ['CPU0'],
      mapped: { 0: mapping, ...(two ? { 512: mapping } : {}) },
      shadowed: two ? { 0: [0, 512] } : {},
    });
    const sp = sp_at(kvm, 0);
    return { kvm, X, sp, spt: sp.spt };
  };

const kvm_age_gfn = fn(function* kvm_age_gfn({ kvm }: State): Steps<boolean> {
  return yield* kvm_rmap_age_gfn_range(kvm, 0, 1, false);
});

const mmu_shrink_scan = fn(function* mmu_shrink_scan({ kvm, sp }: State): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  yield* kvm_mmu_prepare_zap_page(kvm, sp);
  yield* kvm_mmu_commit_zap_page(kvm, [sp]);
  yield* write_unlock(kvm.mmu_lock);
});

/** What maps the page is dropped, and a fault maps it again. */
const zap_and_map = fn(
  function* zap_and_map({ kvm, X }: State): Steps<void> {
    yield* write_lock(kvm.mmu_lock);
    if (yield* kvm_unmap_gfn_range(kvm, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
    yield* mmu_set_spte(kvm, leaf_at(kvm, 0), X, true);
    yield* write_unlock(kvm.mmu_lock);
  },
  { hidden: true },
);

const zap = fn(
  function* zap({ kvm }: State): Steps<void> {
    yield* write_lock(kvm.mmu_lock);
    if (yield* kvm_unmap_gfn_range(kvm, 0, 1)) yield* kvm_flush_remote_tlbs(kvm);
    yield* write_unlock(kvm.mmu_lock);
  },
  { hidden: true },
);

const REMAP = { CPU0: kvm_age_gfn, CPU1: zap_and_map };
const UNMAP = { CPU0: kvm_age_gfn, CPU1: zap };
/** Two tasks of one CPU: what looks for idle pages is preempted by a vCPU. */
const ONE_CPU = { 'CPU0/kdamond': kvm_age_gfn, 'CPU0/vcpu': zap };

const NO_LOCK = [
  patch(kvm_rmap_lock_readonly, function* (_kvm, rmap_head) {
    return yield* kvm_rmap_get(rmap_head);
  }),
  patch(kvm_rmap_unlock_readonly, nop),
];
const PREEMPTIBLE = [patch(preempt_disable, nop), patch(preempt_enable, nop)];

export default scenario<State>('rmap-lockless-aging', {
  machine: x86_64({ cpus: 2 }),
  setup: shadowed('ept'),
  run: { CPU0: kvm_age_gfn, CPU1: mmu_shrink_scan },

  sometimes: {
    'the page was used': returned(kvm_age_gfn, true),
    'the chain is empty': returned(kvm_age_gfn, false),
    'the entry is changed under the walk': only(
      ['shadow page, no A bit', 'mapped again, no A bit'],
      returned(try_cmpxchg64, false),
    ),
    'aging is in a page that is unlinked soon': only(
      ['shadow page', 'shadow page, no A bit'],
      touched('CPU0', ({ spt }) => spt, 'live'),
    ),
    'the chain was emptied meanwhile': only(
      ['mapped again', 'mapped again, no A bit'],
      returned(rmap_was_purged, true),
    ),
  },

  variants: {
    'shadow page': safe(),
    'shadow page, no A bit': safe({ setup: shadowed('ept_no_ad') }),
    'shadow page, no lock': fails('use-after-free', { patches: NO_LOCK }),
    chain: safe({ setup: shadowed('ept', true), run: UNMAP }),
    'chain, no lock': fails('use-after-free', {
      setup: shadowed('ept', true),
      run: UNMAP,
      patches: NO_LOCK,
    }),
    'mapped again': safe({ run: REMAP }),
    'mapped again, no A bit': safe({ setup: shadowed('ept_no_ad'), run: REMAP }),
    // X19: whoever had the lock has emptied the chain. The bit is set in a word that nobody will unlock.
    'no re-check': fails('livelock', {
      shows: ['X19'],
      run: REMAP,
      patches: [
        patch(rmap_was_purged, function* () {
          return false;
        }),
      ],
    }),
    'one cpu': safe({ run: ONE_CPU }),
    // X21: on a CPU of its own the spinner waits until the holder runs again, however long that is; on this
    // one, where tasks stay, it never does.
    'one cpu, preemption on': fails('livelock', {
      shows: ['X21'],
      run: ONE_CPU,
      patches: PREEMPTIBLE,
    }),
  },
});
