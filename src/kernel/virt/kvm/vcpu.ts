import { fn, leaf } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import {
  flush_walker,
  guest_load,
  guest_store,
  vm_enter,
  vm_exit,
} from '../../../machine/ops/guest.ts';
import {
  READ_ONCE,
  cmpxchg_word,
  read_word,
  store_word,
  swap_word,
} from '../../../machine/ops/memory.ts';
import { local_irq_restore, local_irq_save } from '../../../machine/ops/processor.ts';
import { AGAIN, retry } from '../../../machine/ops/retry.ts';
import { smp_mb } from '../../../machine/ops/store-buffer.ts';
import { smp_call_function_many } from '../../kernel/smp.ts';
import { srcu_read_lock, srcu_read_unlock } from '../../kernel/srcu.ts';
import type { Kvm, KvmRequest, PageFault, RetPf, Vcpu } from './types.ts';

/**
 * Running a vCPU, and reaching one that runs.
 *
 * Guarantee: when kvm_flush_remote_tlbs() returns, no vCPU uses a translation from before the call, and none
 * will. Mechanism: the flusher leaves a request and then looks whether the vCPU is in the guest; the vCPU says
 * that it is in the guest and then looks for requests, interrupts off. With a full barrier between the two on
 * both sides one of them sees the other: either the vCPU finds the request and flushes before it enters, or
 * the flusher finds it in the guest and sends an interrupt, which makes it leave, and waits for that.
 * Why interrupts off: the interrupt that comes after the look stays pending and ends the guest at once.
 * Assumes: entries are changed before the call. The flush itself happens on the vCPU's own processor.
 *
 * Follows linux v6.12 virt/kvm/kvm_main.c (kvm_make_all_cpus_request, kvm_flush_remote_tlbs) and
 * arch/x86/kvm/x86.c (vcpu_enter_guest, kvm_service_local_tlb_flush_requests); Documentation/virt/kvm/vcpu-requests.rst.
 */
export const OUTSIDE_GUEST_MODE = 0;
export const IN_GUEST_MODE = 1;
export const EXITING_GUEST_MODE = 2;
export const READING_SHADOW_PAGE_TABLES = 3;

export const VCPU_MODES: Readonly<Record<number, string>> = {
  [OUTSIDE_GUEST_MODE]: 'OUTSIDE_GUEST_MODE',
  [IN_GUEST_MODE]: 'IN_GUEST_MODE',
  [EXITING_GUEST_MODE]: 'EXITING_GUEST_MODE',
  [READING_SHADOW_PAGE_TABLES]: 'READING_SHADOW_PAGE_TABLES',
};

/** The requests of vcpu->requests that there are here. */
export const KVM_REQ_TLB_FLUSH = 'KVM_REQ_TLB_FLUSH';
export const KVM_REQ_MMU_FREE_OBSOLETE_ROOTS = 'KVM_REQ_MMU_FREE_OBSOLETE_ROOTS';

/** Leaves a request that the vCPU serves before it runs in the guest again. */
export const kvm_make_request = leaf(function* kvm_make_request(
  req: KvmRequest,
  vcpu: Vcpu,
): Steps<void> {
  yield* swap_word(vcpu.requests[req], 1); // set_bit(), a locked instruction
});

/** Is there such a request? */
export const kvm_test_request = leaf(function* kvm_test_request(
  req: KvmRequest,
  vcpu: Vcpu,
): Steps<boolean> {
  return (yield* read_word(vcpu.requests[req])) !== 0;
});

/** Is there a request? It is taken. */
export const kvm_check_request = fn(
  function* kvm_check_request(vcpu: Vcpu): Steps<boolean> {
    if (!(yield* kvm_test_request(KVM_REQ_TLB_FLUSH, vcpu))) return false;
    yield* kvm_clear_request(KVM_REQ_TLB_FLUSH, vcpu);
    return true;
  },
  { onBehalf: true },
);

const kvm_clear_request = leaf(function* kvm_clear_request(
  req: KvmRequest,
  vcpu: Vcpu,
): Steps<void> {
  yield* swap_word(vcpu.requests[req], 0); // clear_bit(), and smp_mb__after_atomic()
});

/** Drops what the vCPU's processor has cached of the guest's second stage (INVEPT, a new ASID). */
export const kvm_vcpu_flush_tlb_current = leaf(
  function* kvm_vcpu_flush_tlb_current(vcpu: Vcpu): Steps<void> {
    yield* flush_walker(vcpu.walker, null, null, null, true);
  },
  { protects: { what: 'kvm_vcpu_flush_tlb_current()' } },
);

/** What must be done before the guest runs. */
export const kvm_service_local_tlb_flush_requests = fn(
  function* kvm_service_local_tlb_flush_requests(vcpu: Vcpu): Steps<void> {
    if (yield* kvm_check_request(vcpu)) yield* kvm_vcpu_flush_tlb_current(vcpu);
  },
);

/** kvm_vcpu_exiting_guest_mode(): IN_GUEST_MODE becomes EXITING_GUEST_MODE; returns what it was. */
export const kvm_vcpu_exiting_guest_mode = leaf(function* kvm_vcpu_exiting_guest_mode(
  vcpu: Vcpu,
): Steps<number> {
  return yield* cmpxchg_word(vcpu.mode, IN_GUEST_MODE, EXITING_GUEST_MODE);
});

/** The handler of the interrupt that makes a vCPU leave the guest: that it came is all. */
export const ack_kick = fn(function* ack_kick(): Steps<void> {});

/** Asks all vCPUs for a flush, and waits until none is in the guest, or reads shadow tables, from before. */
export const kvm_make_all_cpus_request = fn(function* kvm_make_all_cpus_request(
  kvm: Kvm,
): Steps<void> {
  const kicked: number[] = [];
  for (const vcpu of kvm.vcpus) {
    yield* kvm_make_request(KVM_REQ_TLB_FLUSH, vcpu);
    const mode = yield* kvm_vcpu_exiting_guest_mode(vcpu); // a full barrier
    if (mode !== OUTSIDE_GUEST_MODE) kicked.push(vcpu.cpu);
  }
  yield* smp_call_function_many(kicked, ack_kick);
});

/** kvm_flush_remote_tlbs(): no vCPU uses what the tables said before the call. */
export const kvm_flush_remote_tlbs = fn(
  function* kvm_flush_remote_tlbs(kvm: Kvm): Steps<void> {
    yield* kvm_make_all_cpus_request(kvm);
  },
  { protects: { what: 'kvm_flush_remote_tlbs()' } },
);

const set_mode = leaf(function* set_mode(vcpu: Vcpu, mode: number): Steps<void> {
  yield* store_word(vcpu.mode, mode); // smp_store_release()
});

/** kvm_vcpu_exit_request(): must the guest not be entered after all? */
export const kvm_vcpu_exit_request = fn(
  function* kvm_vcpu_exit_request(vcpu: Vcpu): Steps<boolean> {
    if ((yield* READ_ONCE(vcpu.mode)) === EXITING_GUEST_MODE) return true;
    return yield* kvm_test_request(KVM_REQ_TLB_FLUSH, vcpu); // kvm_request_pending()
  },
  { protects: { what: 'kvm_vcpu_exit_request()', without: neverAsked } },
);

function* neverAsked(): Steps<boolean> {
  return false;
}

/** An access of the guest: a load, or a store of `value`. */
export interface GuestAccess {
  readonly gpa: number;
  readonly value?: bigint;
}

/** What came of it: the value loaded, or stored. Null: the second stage did not allow it. */
type Accessed = bigint | true | null;

const guest_runs = leaf(
  function* guest_runs(vcpu: Vcpu): Steps<void> {
    yield* vm_enter(vcpu.walker, vcpu.kvm.root);
  },
  { event: 'enters the guest' },
);

const guest_exits = leaf(
  function* guest_exits(vcpu: Vcpu): Steps<void> {
    yield* vm_exit(vcpu.walker);
  },
  { event: 'leaves the guest' },
);

const guest_reads = leaf(function* guest_reads(vcpu: Vcpu, gpa: number): Steps<bigint | null> {
  const value = yield* guest_load(vcpu.walker, gpa);
  return value && value.bits;
});

const guest_writes = leaf(function* guest_writes(
  vcpu: Vcpu,
  gpa: number,
  value: bigint,
): Steps<boolean> {
  return yield* guest_store(vcpu.walker, gpa, value);
});

/** vcpu->srcu_idx: the section of kvm->srcu that a vCPU is in wherever it is not in the guest. */
interface SrcuIdx {
  idx: number;
}

/** vcpu_enter_guest(): one stay in the guest, with one access. AGAIN: it was not entered. */
export const vcpu_enter_guest = fn(function* vcpu_enter_guest(
  vcpu: Vcpu,
  { gpa, value }: GuestAccess,
  srcu: SrcuIdx,
): Steps<Accessed | typeof AGAIN> {
  yield* kvm_service_local_tlb_flush_requests(vcpu);
  const flags = yield* local_irq_save();
  yield* set_mode(vcpu, IN_GUEST_MODE);
  yield* srcu_read_unlock(vcpu.kvm.srcu, srcu.idx);
  yield* smp_mb(); // the mode is seen before requests are looked for
  if (yield* kvm_vcpu_exit_request(vcpu)) {
    yield* set_mode(vcpu, OUTSIDE_GUEST_MODE);
    yield* local_irq_restore(flags);
    srcu.idx = yield* srcu_read_lock(vcpu.kvm.srcu);
    return AGAIN;
  }
  yield* guest_runs(vcpu);
  const done =
    value === undefined
      ? yield* guest_reads(vcpu, gpa)
      : (yield* guest_writes(vcpu, gpa, value)) || null;
  yield* guest_exits(vcpu);
  yield* set_mode(vcpu, OUTSIDE_GUEST_MODE);
  yield* local_irq_restore(flags); // the kick, if one came, is taken here
  srcu.idx = yield* srcu_read_lock(vcpu.kvm.srcu);
  return done;
});

/**
 * vcpu_run(): the guest makes one access, however often it has to fault for it. A fault that has to be tried
 * again is no loop of KVM's: the guest is resumed and faults anew. Outside the guest the vCPU reads memslots,
 * in a section of kvm->srcu that ends at the next entry. Who waits to try again (ops/retry.ts) must not hold up
 * a grace period meanwhile, as he would not if he went round: so it ends here with the round.
 */
export const vcpu_run = fn(function* vcpu_run(vcpu: Vcpu, access: GuestAccess): Steps<Accessed> {
  return yield* retry(() => vcpu_runs_once(vcpu, access));
});

/** What the guest's access came to, or AGAIN. */
const enter_or_handle_fault = fn(
  function* enter_or_handle_fault(
    vcpu: Vcpu,
    access: GuestAccess,
    srcu: SrcuIdx,
  ): Steps<Accessed | typeof AGAIN> {
    const done = yield* vcpu_enter_guest(vcpu, access, srcu);
    if (done !== null) return done;
    const gfn = Math.floor(access.gpa / 4096);
    const fault: PageFault = { gfn, write: access.value !== undefined, present: false };
    const answer: RetPf = yield* vcpu.kvm.mmu.page_fault(vcpu, fault);
    return answer === 'RET_PF_EMULATE' ? null : AGAIN;
  },
  { hidden: true },
);

/**
 * One attempt to get into the guest, and the access if it succeeds; a fault is nobody's business here. `open`:
 * the section of kvm->srcu that the vCPU is in already.
 */
export const vcpu_enters_once = fn(
  function* vcpu_enters_once(
    vcpu: Vcpu,
    access: GuestAccess,
    open: SrcuIdx | null = null,
  ): Steps<Accessed | typeof AGAIN> {
    const srcu: SrcuIdx = open ?? { idx: yield* srcu_read_lock(vcpu.kvm.srcu) };
    const done = yield* vcpu_enter_guest(vcpu, access, srcu);
    yield* srcu_read_unlock(vcpu.kvm.srcu, srcu.idx);
    return done;
  },
  { hidden: true },
);

/** One round of vcpu_run(): the guest is entered, and a fault of its access is handled. */
export const vcpu_runs_once = fn(
  function* vcpu_runs_once(vcpu: Vcpu, access: GuestAccess): Steps<Accessed | typeof AGAIN> {
    const srcu: SrcuIdx = { idx: yield* srcu_read_lock(vcpu.kvm.srcu) };
    const done = yield* enter_or_handle_fault(vcpu, access, srcu);
    yield* srcu_read_unlock(vcpu.kvm.srcu, srcu.idx);
    return done;
  },
  { hidden: true },
);

/**
 * A guest that has just faulted: the fault is handled, and if that made an entry, the guest goes on. A fault that
 * has to be tried again is the end here. For questions of safety: an attempt that is given up leaves nothing
 * behind, so the next one does what this one does if it begins later.
 */
export const vcpu_faults_once = fn(
  function* vcpu_faults_once(vcpu: Vcpu, access: GuestAccess): Steps<Accessed> {
    let open: SrcuIdx | null = { idx: yield* srcu_read_lock(vcpu.kvm.srcu) };
    const gfn = Math.floor(access.gpa / 4096);
    const fault: PageFault = { gfn, write: access.value !== undefined, present: false };
    const answer: RetPf = yield* vcpu.kvm.mmu.page_fault(vcpu, fault);
    if (answer !== 'RET_PF_FIXED' && answer !== 'RET_PF_SPURIOUS') {
      yield* srcu_read_unlock(vcpu.kvm.srcu, open.idx);
      return null;
    }
    return yield* retry(function* () {
      const done = yield* vcpu_enters_once(vcpu, access, open);
      open = null; // the next round takes one anew
      return done;
    });
  },
  { hidden: true },
);

/** A guest that enters and makes an access; its first fault is the end. */
export const vcpu_never_faults = fn(
  function* vcpu_never_faults(vcpu: Vcpu, access: GuestAccess): Steps<Accessed> {
    return yield* retry(() => vcpu_enters_once(vcpu, access));
  },
  { hidden: true },
);
