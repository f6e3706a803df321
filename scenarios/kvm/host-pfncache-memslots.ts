// KVM keeps a page of the guest mapped for itself, and the slots move the guest frame to another page.
// linux v6.12 virt/kvm/pfncache.c (kvm_gpc_check, __kvm_gpc_refresh); specification of the secondary MMUs, section
// 2.9.
import { fails, only, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  WRITE_ONCE,
  bug_on,
  gfn_to_pfn_cache_invalidate_start,
  gpc_generation_is_current,
  kvm_delete_memslot,
  kvm_gpc_refresh,
  kvm_gpc_write,
  madvise_dontneed,
  memcpy_from_page,
  new_host_vm,
  new_mm,
  new_page,
  write_lock,
  write_unlock,
  type Kvm,
  type Mm,
  type Page,
  type PfnCache,
} from 'gracewalk/linux';

const HVA = 0;
const ELSEWHERE = PAGE_SIZE;
const SLOT = { id: 0, base_gfn: 0, npages: 1, userspace_addr: HVA };
const [INVALID, MOVED] = [1, 2];
const SETS = [[SLOT], [{ ...SLOT, invalid: true }], [{ ...SLOT, userspace_addr: ELSEWHERE }]];

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
  readonly gpc: PfnCache;
  readonly Q: Page;
}

/** What KVM writes when the slots have been replaced is where the guest has its frame now. */
function* write_is_seen({ gpc, Q }: State) {
  if (!(yield* kvm_gpc_write(gpc, 1n))) return false;
  const seen = (yield* memcpy_from_page(Q, 0)) === 1n;
  yield* bug_on(!seen, 'gpc', 'KVM writes to gfn 0, and Q, which gfn 0 is, does not show it.');
  return true;
}

/** Behind the move the host takes the page that the frame is now. */
const TAKEN_AWAY = {
  *CPU0({ gpc }: State) {
    yield* kvm_gpc_refresh(gpc);
    yield* kvm_gpc_write(gpc, 1n);
  },
  *CPU1({ mm, kvm }: State) {
    yield* kvm_delete_memslot(kvm, SLOT, INVALID, MOVED);
    yield* madvise_dontneed(mm, ELSEWHERE, PAGE_SIZE);
  },
};

export default scenario<State>('host-pfncache-memslots', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const Q = new_page(m, 'Q');
    const mm = new_mm(m, 'mm', { [HVA]: new_page(m, 'P'), [ELSEWHERE]: Q }, { on: [] });
    const kvm = new_host_vm(m, mm, { gpcs: [0], memslots: SETS });
    return { mm, kvm, Q, gpc: kvm.gpcs[0] as PfnCache };
  },

  run: {
    CPU0: ({ gpc }) => kvm_gpc_refresh(gpc),
    *CPU1(state) {
      yield* kvm_delete_memslot(state.kvm, SLOT, INVALID, MOVED);
      yield* write_is_seen(state);
    },
  },

  sometimes: {
    'KVM writes to the page': returned(kvm_gpc_write, true),
    'the cache is of other slots': only(
      ['moved', 'moved, and taken away'],
      returned(gpc_generation_is_current, false),
    ),
  },

  variants: {
    moved: safe(),
    // Nobody tells the cache that the slots have changed, and the page is still there: it is the guest's no more.
    'no test of the generation': fails('property', {
      patches: [
        patch(gpc_generation_is_current, function* () {
          return true;
        }),
      ],
    }),
    'moved, and taken away': safe({ run: TAKEN_AWAY }),
    // The address of the cache is not what the slots said in the beginning.
    'made invalid by its first address': fails('use-after-free', {
      run: TAKEN_AWAY,
      patches: [
        patch(gfn_to_pfn_cache_invalidate_start, function* ({ gpcs }, start, end) {
          if (HVA < start || HVA >= end) return;
          const { lock, valid } = gpcs[0] as PfnCache;
          yield* write_lock(lock);
          yield* WRITE_ONCE(valid, 0);
          yield* write_unlock(lock);
        }),
      ],
    }),
  },
});
