// A memslot is replaced between the start and the end of an invalidation, which look for it each.
// linux v6.12 virt/kvm/kvm_main.c (kvm_swap_active_memslots), commit 52ac8b358b0c (the id is from memory);
// specification of the secondary MMUs, sections 2.1 and 2.7.
import { fails, only, patch, returned, safe, scenario, type Machine, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  kvm_create_memslot,
  kvm_delete_memslot,
  madvise_dontneed,
  mn_is_active,
  new_host_vm,
  new_mm,
  new_page,
  vcpu_run,
  type Kvm,
  type Memslots,
  type Mm,
  type Vcpu,
} from 'gracewalk/linux';

const HVA = 0;
const ELSEWHERE = PAGE_SIZE;
const SLOT = { id: 0, base_gfn: 0, npages: 1, userspace_addr: HVA };

interface State {
  readonly mm: Mm;
  readonly kvm: Kvm;
}

const machine =
  (memslots: readonly Memslots[]) =>
  (m: Machine): State => {
    const pages = { [HVA]: new_page(m, 'P'), [ELSEWHERE]: new_page(m, 'Q') };
    const mm = new_mm(m, 'mm', pages, { on: [] });
    return { mm, kvm: new_host_vm(m, mm, { vcpus: ['CPU1'], memslots }) };
  };

const INVALIDATION = {
  CPU0: ({ mm }: State) => madvise_dontneed(mm, HVA, PAGE_SIZE),
};

/** The slot comes into being; KVM_BUG_ON() says when an end has no start. */
const CREATE = {
  setup: machine([[], [SLOT]]),
  run: { ...INVALIDATION, CPU1: ({ kvm }: State) => kvm_create_memslot(kvm, 1) },
};

function* no(): Steps<boolean> {
  return false;
}

export default scenario<State>('host-memslot-gate', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  // The guest frame goes on to be memory, at another address of the process.
  setup: machine([[SLOT], [{ ...SLOT, invalid: true }], [{ ...SLOT, userspace_addr: ELSEWHERE }]]),

  run: {
    ...INVALIDATION,
    *CPU1({ kvm }) {
      yield* kvm_delete_memslot(kvm, SLOT, 1, 2);
      yield* vcpu_run(kvm.vcpus[0] as Vcpu, { gpa: 0, value: 100n });
    },
  },

  sometimes: {
    'the replacement has to wait': only(['moved', 'created'], returned(mn_is_active, true)),
    'the guest stores to its page': only(['moved'], returned(vcpu_run, true)),
    'the slot comes': only(
      ['created'],
      returned(kvm_create_memslot, () => true),
    ),
  },

  variants: {
    moved: safe({ shows: ['K7'] }),
    created: safe({ ...CREATE, shows: ['K7'] }),
    // K7: start has found the slot and end does not: the count stays, and the guest faults for ever.
    'moved meanwhile': fails('livelock', { shows: ['K7'], patches: [patch(mn_is_active, no)] }),
    // K7, the mirror image.
    'created meanwhile': fails('property', {
      ...CREATE,
      shows: ['K7'],
      patches: [patch(mn_is_active, no)],
    }),
  },
});
