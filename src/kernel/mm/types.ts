import type { ArchDescriptor, KernelConfig } from '../../machine/arch.ts';
import type { Entry, EntryPointer, Page, PageFields, Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import type { AddressSpace } from './filemap.ts';
import type { MmNotifiers } from './mmu_notifier-types.ts';
import type { Ptlocks } from './ptlock.ts';
import type { RmapPlace } from './rmap.ts';

/**
 * Kernel structures as the protocols see them: frozen handles whose fields are words of the machine's
 * memory (or numbers that never change). Only what two actors can both reach is a word. Field names are
 * those of linux v6.12.
 */

/** The kernel's global and per-CPU data. */
export interface Kernel {
  readonly arch: ArchDescriptor;
  readonly config: KernelConfig;
  /** What the allocator may answer to GFP_NOWAIT (`ok`, `fails`, or `either`: both are tried). */
  readonly gfp_nowait: 'ok' | 'fails' | 'either';
  readonly cpus: readonly PerCpu[];
  /** The words of a struct page: arithmetic on the page's frame number, as page_folio() is. */
  readonly folio: (page: Page) => Folio;
  /** The file that a value of `folio->mapping` points to. */
  readonly file: (mapping: number) => AddressSpace | undefined;
  /** Locks of page tables that are objects of their own. */
  readonly ptlocks: Ptlocks;
  /** Where the page was mapped when the scenario began: what the lists of VMAs lead to (mm/rmap.ts). */
  readonly rmap: (page: Page) => readonly RmapPlace[];
  /** All address spaces by their id; complete when the scenario begins. */
  readonly mms: ReadonlyMap<number, Mm>;
}

/** struct tlb_context: a tag of this CPU. */
export interface TlbContext {
  /** Id of the mm that has the tag, 0 none. */
  readonly ctx_id: Word;
  /** Its generation that this CPU has caught up to. */
  readonly tlb_gen: Word;
}

/** struct folio, of one page: its reference count and the fields that protocols look at. */
export interface Folio extends PageFields {
  readonly _refcount: Word;
}

/** include/linux/mm_types.h and arch/x86: the parts of per-CPU data that other CPUs read. */
export interface PerCpu {
  readonly cpu: number;
  readonly name: string;
  /** cpu_tlbstate.loaded_mm: the mm's id; 0 is init_mm, -1 LOADED_MM_SWITCHING. */
  readonly loaded_mm: Word;
  /** Slot of the loaded mm. */
  readonly loaded_mm_asid: Word;
  /** The slot that is recycled next. */
  readonly next_asid: Word;
  readonly ctxs: readonly TlbContext[];
  /** cpu_tlbstate_shared.is_lazy. */
  readonly is_lazy: Word;
  /** struct kvm_steal_time.preempted, the byte shared with the host. */
  readonly preempted: Word;
}

/** struct vm_area_struct: neighbouring pages that one mmap() made. */
export interface Vma {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** The lock of the list that leads from its pages to it: anon_vma->root->rwsem, mapping->i_mmap_rwsem. */
  readonly rwsem: Word;
  /** 1 while it is in that list. */
  readonly linked: Word;
  /** vm_ops->close(), and the reference on its file. */
  readonly close?: (() => Steps<void>) | undefined;
}

/** struct mm_struct. */
export interface Mm {
  readonly name: string;
  readonly id: number;
  readonly kernel: Kernel;
  /** Frame of the top-level table. */
  readonly pgd: number;
  readonly mmap_lock: Word;
  /** One word per CPU: mm_cpumask(mm). */
  readonly cpumask: readonly Word[];
  /** mm->context.tlb_gen: counts changes of the tables. */
  readonly tlb_gen: Word;
  /** mm->tlb_flush_pending: unmappings whose flush is still to come. */
  readonly tlb_flush_pending: Word;
  /** mm->tlb_flush_batched: cleared entries whose flush reclaim has put off, and how many of them are flushed. */
  readonly tlb_flush_batched: Word;
  /** mm->write_protect_seq: odd while fork() write-protects. */
  readonly write_protect_seq: Word;
  /** MMF_HAS_PINNED of mm->flags: something was pinned at some time. */
  readonly has_pinned: Word;
  /** mm->pmd_huge_pte: the table that is kept for the huge page's split, or NULL. */
  readonly pmd_huge_pte: Word;
  /** The addresses that it maps when the scenario begins: what its VMAs cover. */
  readonly mapped: readonly number[];
  /** Its VMAs when the scenario begins: one for each run of neighbouring addresses. */
  readonly vmas: readonly Vma[];
  /** Spinlocks of the page-table pages, by the table's frame (split ptlocks: ptdesc->ptl). */
  readonly ptl: ReadonlyMap<number, Word>;
  /** With CONFIG_MMU_NOTIFIER. */
  readonly notifiers?: MmNotifiers;
}

export type Pmd = Entry;
export type Pte = Entry;
export type Pmdp = EntryPointer;
export type Ptep = EntryPointer;
/** Pointer to an entry of a level that may be folded: to a word of a table, or a local copy of its parent. */
export type Upperp = EntryPointer | Entry;
export type { Page };
