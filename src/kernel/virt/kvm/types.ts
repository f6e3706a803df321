import type { Machine } from '../../../machine/machine.ts';
import type { Entry, EntryPointer, Page, Word } from '../../../machine/memory.ts';
import type { Steps } from '../../../machine/op.ts';
import type { Kernel, Mm } from '../../mm/types.ts';

/**
 * KVM's structures as the protocols see them: frozen handles whose fields are words of the machine's memory, or
 * numbers that never change. Field names are those of linux v6.12 include/linux/kvm_host.h.
 */

/** Entry of a table that KVM makes; and a pointer to one. */
export type Spte = Entry;
export type Sptep = EntryPointer;

/** What a fault handler answers: go on, or resume the guest so that it faults again. */
export type RetPf = 'RET_PF_RETRY' | 'RET_PF_FIXED' | 'RET_PF_SPURIOUS' | 'RET_PF_EMULATE';

/** struct kvm_page_fault: one access of the guest that its tables did not allow. */
export interface PageFault {
  /** Guest frame number. */
  readonly gfn: number;
  readonly write: boolean;
  /** The entry was there and did not allow it (or hid that the page is used). */
  readonly present: boolean;
}

/** A fault that has got its page: what kvm_faultin_pfn() adds to struct kvm_page_fault. */
export interface FaultinPage extends PageFault {
  readonly slot: Memslot;
  /** mmu_invalidate_seq from before the page was looked up. */
  readonly mmu_seq: number;
  /** fault->refcounted_page: the fault has a reference on it until kvm_release_faultin_page(). */
  readonly page: Page;
  /** The host may be written to through it: of a read fault we do not ask. */
  readonly map_writable: boolean;
}

/** struct gfn_to_pfn_cache: a guest page that KVM itself reads and writes through a mapping of its own. */
export interface PfnCache {
  readonly name: string;
  readonly kvm: Kvm;
  readonly gfn: number;
  /** An rwlock_t; who refreshes has refresh_lock as well, a mutex. */
  readonly lock: Word;
  readonly refresh_lock: Word;
  readonly valid: Word;
  /** The host address that it was looked up at, in the slots of this generation. */
  readonly uhva: Word;
  readonly generation: Word;
  /** The page that gpc->khva leads to, without a reference. */
  readonly khva: Word;
}

/** struct kvm_memory_slot: guest frames and the host addresses that back them. */
export interface Memslot {
  readonly id: number;
  readonly base_gfn: number;
  readonly npages: number;
  /** Virtual address in `kvm->mm`. */
  readonly userspace_addr: number;
  /** KVM_MEMSLOT_INVALID: being deleted or moved. Nobody may fault through it. */
  readonly invalid?: boolean;
  /** Words of the slot, by index of the page: KVM_MEM_LOG_DIRTY_PAGES' bitmap, if it is logged. */
  readonly dirty_bitmap?: readonly Word[];
}

/** struct kvm_memslots: a set of slots is never changed, but replaced by another. */
export type Memslots = readonly Memslot[];

/** A slot in memory, as those find it who look at it; freed with it. */
export interface MemslotObject {
  readonly memory: Page;
  readonly flags: Word;
  readonly userspace_addr: Word;
}

/** What an architecture's MMU does for virt/kvm: the kvm_arch_*() functions. */
export interface KvmMmuOps {
  readonly page_fault: (vcpu: Vcpu, fault: PageFault) => Steps<RetPf>;
  /** kvm_unmap_gfn_range() for [start, end); true: translations of what was removed must be flushed. */
  readonly unmap_gfn_range: (kvm: Kvm, start: number, end: number) => Steps<boolean>;
  /** kvm_age_gfn(): was a page of the range used? Forgets it with `clear`. */
  readonly age_gfn: (kvm: Kvm, start: number, end: number, clear: boolean) => Steps<boolean>;
}

/** struct kvm: a virtual machine. */
export interface Kvm {
  readonly name: string;
  readonly machine: Machine;
  readonly kernel: Kernel;
  /** The address space that backs the guest's memory; KVM holds mm_count, never mm_users. */
  readonly mm: Mm;
  /** Which kind of tables the guest has: machine/stages.ts. */
  readonly stage: number;
  /** The name of that kind. */
  readonly tables: string;
  /** Level of the root table: 1 is a tree of two levels, whose upper levels are not modelled. */
  readonly root_level: number;
  /** An rwlock_t on x86; the shadow MMU takes it for writing always. */
  readonly mmu_lock: Word;
  /** Goes up when an invalidation ends; a fault that began before must look again. */
  readonly mmu_invalidate_seq: Word;
  /** Invalidations between their start and their end. */
  readonly mmu_invalidate_in_progress: Word;
  /** Guest frames that they cover: [start, end). */
  readonly mmu_invalidate_range_start: Word;
  readonly mmu_invalidate_range_end: Word;
  /** Notifiers between the beginning of start and the end of end; the memslots are not replaced meanwhile. */
  readonly mn_active_invalidate_count: Word;
  readonly mn_invalidate_lock: Word;
  /** The sets of slots that there are in the scenario, and which of them is current. */
  readonly memslot_sets: readonly Memslots[];
  readonly memslot_objects: ReadonlyMap<Memslot, MemslotObject>;
  readonly memslots: Word;
  readonly slots_lock: Word;
  /** No vCPU may run any more. */
  readonly vm_dead: Word;
  /** Readers of the memslots; a vCPU is one wherever it is not in the guest. */
  readonly srcu: Word;
  readonly gpcs: readonly PfnCache[];
  /** The root that vCPUs load (kvm->arch.tdp_mmu_roots; one at a time here). */
  readonly root: Page;
  /** root->role.invalid: vCPUs are told to load another. */
  readonly root_role_invalid: Word;
  readonly mmu: KvmMmuOps;
  readonly vcpus: readonly Vcpu[];
}

/** Something that a vCPU must do before it runs in the guest again. */
export type KvmRequest = 'KVM_REQ_TLB_FLUSH' | 'KVM_REQ_MMU_FREE_OBSOLETE_ROOTS';

/** struct kvm_vcpu. */
export interface Vcpu {
  readonly name: string;
  readonly kvm: Kvm;
  /** The processor that its thread runs on. */
  readonly cpu: number;
  /** The guest's own hardware: its place in `machine.walkers`. */
  readonly walker: number;
  /** vcpu->mode. */
  readonly mode: Word;
  /** vcpu->requests: a bit, here a word, for each. */
  readonly requests: Readonly<Record<KvmRequest, Word>>;
}
