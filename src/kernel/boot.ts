import { GracewalkError } from '../base/errors.ts';
import type { ArchDescriptor, KernelConfig, LeafPermissions } from '../machine/arch.ts';
import type { Machine } from '../machine/machine.ts';
import {
  ALLOCATED,
  PAGE_SHIFT,
  PAGE_SIZE,
  makeLife,
  type EntryPointer,
  type FrameInfo,
  type Page,
  type Word,
} from '../machine/memory.ts';
import { levelAt } from '../machine/stages.ts';
import { indexAt, walk } from '../machine/walk.ts';
import { cache_mm, load_mm, tlb_state } from './boot-tlb.ts';
import { file_of, hold_pages } from './mm/filemap.ts';
import { new_notifiers } from './mm/mmu_notifier-boot.ts';
import { new_ptlocks, ptlock_alloc } from './mm/ptlock.ts';
import type { RmapPlace } from './mm/rmap.ts';
import type { Folio, Kernel, Mm, PerCpu, Pmdp, Ptep, Vma } from './mm/types.ts';

/**
 * The initial state: the kernel's per-CPU data, address spaces and pages as a scenario finds them. Nothing
 * here is a step; it all happened before the first one.
 */

/** The kernel that runs on this machine, made on first use. */
export function kernel_of(machine: Machine): Kernel {
  const known = machine.objects.get('kernel') as Kernel | undefined;
  if (known) return known;
  const config = machine.settings.config as Partial<KernelConfig> | undefined;
  const kernel: Kernel = Object.freeze({
    arch: machine.arch,
    config: { ...machine.arch.config, ...config },
    folio: ({ frame }: Page): Folio => {
      const { fields, refcount } = machine.memory.info(frame);
      return { ...fields, _refcount: refcount };
    },
    file: (mapping: number) => file_of(machine, mapping),
    ptlocks: new_ptlocks(),
    rmap: ({ frame }: Page): readonly RmapPlace[] => rmapOf(machine).get(frame) ?? [],
    gfp_nowait: (machine.settings.gfp_nowait as Kernel['gfp_nowait'] | undefined) ?? 'ok',
    mms: new Map(),
    cpus: machine.cpus.map(({ index, name }): PerCpu =>
      Object.freeze({
        cpu: index,
        name,
        ...tlb_state(machine, name),
        preempted: machine.memory.variable(`steal_time(${name}).preempted`, 0, [
          '0',
          'KVM_VCPU_PREEMPTED',
          'KVM_VCPU_FLUSH_TLB',
          'KVM_VCPU_PREEMPTED | KVM_VCPU_FLUSH_TLB',
        ]),
      }),
    ),
  });
  machine.objects.set('kernel', kernel);
  return kernel;
}

/** By frame: where each page is mapped when the scenario begins. */
function rmapOf(machine: Machine): Map<number, RmapPlace[]> {
  let known = machine.objects.get('rmap') as Map<number, RmapPlace[]> | undefined;
  if (!known) machine.objects.set('rmap', (known = new Map()));
  return known;
}

/**
 * A live page with `refs` references that the scenario itself keeps, besides one per mapping. `pfn` is its
 * frame number, where its entry's bits matter (see machine/frame-numbers.ts).
 */
export function new_page(machine: Machine, name: string, refs = 0, pfn?: number): Page {
  const info = new_frame(machine, name);
  if (pfn !== undefined) machine.memory.numbers.choose(info.index, pfn, name);
  machine.cells.values[info.life] = makeLife(1, ALLOCATED);
  machine.cells.values[info.refcount.cell] = refs;
  machine.objects.set(`kept:${info.index}`, refs);
  return machine.memory.page(info.index, 1);
}

/** A frame of its own: two pages of one name would be one page. */
function new_frame(machine: Machine, name: string): FrameInfo {
  if (machine.memory.frameByName.has(name)) {
    throw new GracewalkError('E118', `there are two pages called ${name}`, {
      notes: ['page tables are called pgd, pud, pmd, pteA, pteB, ...'],
      help: 'give each page a name of its own',
    });
  }
  return machine.memory.frame(name);
}

function new_table(machine: Machine, name: string, level: number, pfn?: number): Page {
  const info = new_frame(machine, name);
  if (pfn !== undefined) machine.memory.numbers.choose(info.index, pfn, name);
  machine.cells.values[info.life] = makeLife(1, ALLOCATED);
  machine.cells.values[info.level] = level;
  machine.cells.values[info.refcount.cell] = 1;
  return machine.memory.page(info.index, 1);
}

function put_entry(machine: Machine, table: Page, index: number, bits: bigint): void {
  if (index * 8 >= PAGE_SIZE) {
    throw new GracewalkError('E131', `an address is mapped by entry ${index} of its table`, {
      notes: ['of each table the machine has the entries that fit a page of 4 KiB'],
      help: 'map a lower address',
    });
  }
  const word = machine.memory.at(table.frame * PAGE_SIZE + index * 8, table.generation);
  machine.memory.storeWide(word, machine.memory.entry(bits, 1));
}

/** PAGE_SIZE is a constant of the protocols: 4 KiB. */
function refuse_unwalkable(arch: ArchDescriptor): void {
  if (arch.pageShift === PAGE_SHIFT) return;
  throw new GracewalkError('E130', `the protocols cannot run on ${arch.title} yet`, {
    notes: [`they know pages of 4 KiB; it has pages of ${2 ** (arch.pageShift - 10)} KiB`],
    help: 'use x86_64, x86_pae, s390, riscv, or arm64 and powerpc_radix without options',
  });
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** Virtual addresses (multiples of the page size) and the pages they map. */
export type Mappings = Readonly<Record<number, Page>>;

export interface MmOptions {
  /** Names of the CPUs that run the address space; all by default. */
  readonly on?: readonly string[];
  /** CPUs that have switched away from it: what they cached of it is still there, under its tag. */
  readonly ran_on?: readonly string[];
  /** CPUs whose bit is set in its mask; those that run it by default. */
  readonly cpumask?: readonly string[];
  readonly writable?: boolean;
  /** Addresses that an entry of a higher level maps: 1 by the PMD, 2 by the PUD. */
  readonly huge?: Readonly<Record<number, 1 | 2>>;
  /** Its user has stored to every page already: the entries, and what CPUs cached of them, are dirty. */
  readonly dirty?: boolean;
  /** The locks of its page tables are objects of their own, which are freed (mm/ptlock.ts). */
  readonly ALLOC_SPLIT_PTLOCKS?: boolean;
  /** May be executed, or not; the architecture's data mapping if not said. */
  readonly executable?: boolean;
  /** Addresses for which there is a page table although it maps nothing. */
  readonly tables?: readonly number[];
  /** Frame numbers of its tables, by name, where the bits of the entries that lead to them matter. */
  readonly pfns?: Readonly<Record<string, number>>;
  /** mapping->i_mmap_rwsem of the file that it maps; by default its pages are anonymous. */
  readonly rwsem?: Word;
  /** Of its mappings: what is done when the address space ends. */
  readonly close?: Vma['close'];
}

/**
 * An address space: a full tree of tables, with the tables of leaf entries called `pteA`, `pteB`, ... in the
 * order of the addresses. It is loaded on the CPUs that run it, which may therefore hold any translation of
 * it when the scenario begins.
 */
export function new_mm(
  machine: Machine,
  name: string,
  mappings: Mappings,
  options: MmOptions = {},
): Mm {
  const { arch, memory } = machine;
  refuse_unwalkable(arch);
  const kernel = kernel_of(machine);
  const top = arch.levels.length - 1;
  const roots = (machine.objects.get('roots') as number[] | undefined) ?? [];
  const root = new_table(machine, roots.length === 0 ? 'pgd' : `pgd(${name})`, top);
  machine.objects.set('roots', [...roots, root.frame]);
  const ptl = new Map<number, Word>();
  const tables = new Map<string, Page>();
  let count = (machine.objects.get('leaf tables') as number | undefined) ?? 0;
  const descend = (address: number, level: number): Page => {
    if (level === top) return root;
    const parent = descend(address, level + 1);
    const { shift } = levelAt(arch, level + 1);
    const base = Math.floor(address / 2 ** shift);
    const key = `${level}/${base}`;
    const known = tables.get(key);
    if (known) return known;
    const kind = arch.levels[level]?.name ?? 'table';
    const title = level === 0 ? `pte${LETTERS[count++]}` : uniqueName(machine, kind);
    const table = new_table(machine, title, level, options.pfns?.[title]);
    tables.set(key, table);
    const own = options.ALLOC_SPLIT_PTLOCKS && ptlock_alloc(machine, kernel.ptlocks, table);
    ptl.set(table.frame, own || memory.variable(`ptl(${title})`));
    put_entry(
      machine,
      parent,
      indexAt(arch, level + 1, address),
      arch.table(level + 1, table.frame),
    );
    const info = memory.info(table.frame);
    machine.cells.values[info.links] = 1;
    return table;
  };
  for (const [key, page] of Object.entries(mappings).sort(([a], [b]) => Number(a) - Number(b))) {
    const address = Number(key);
    const level = options.huge?.[address] ?? 0;
    const made = arch.leaf(level, page.frame, permissionsOf(options));
    const bits = arch.change(level, made, options.dirty ? { dirty: true } : {});
    put_entry(machine, descend(address, level), indexAt(arch, level, address), bits);
    const { fields, refcount } = memory.info(page.frame);
    for (const { cell } of [refcount, fields._mapcount]) {
      machine.cells.values[cell] = (machine.cells.values[cell] as number) + 1;
    }
  }
  for (const address of options.tables ?? []) descend(address, 0);
  machine.objects.set('leaf tables', count);
  const mapped = Object.keys(mappings).map(Number);
  const rwsem = options.rwsem ?? memory.variable(`anon_vma(${name})->rwsem`);
  const vmas = areas(machine, name, mapped, { rwsem, close: options.close });
  const mm = load(machine, kernel, name, root, { ptl, mapped, vmas }, options);
  for (const [key, { frame }] of Object.entries(mappings)) {
    const address = Number(key);
    const vma = vmas.find(({ start, end }) => address >= start && address < end) as Vma;
    const places = rmapOf(machine).get(frame) ?? [];
    rmapOf(machine).set(frame, [...places, Object.freeze({ mm, vma, address })]);
  }
  return mm;
}

/** vma->vm_page_prot. */
function permissionsOf({ writable = true, executable }: MmOptions): LeafPermissions {
  return { writable, ...(executable === undefined ? {} : { executable }) };
}

/** A page table of `mm` that is not linked yet, for a fault to come (pte_alloc_one). */
export function new_pte_table(machine: Machine, mm: Mm, name: string, pfn?: number): Page {
  const table = new_table(machine, name, 0, pfn);
  (mm.ptl as Map<number, Word>).set(table.frame, machine.memory.variable(`ptl(${name})`));
  return table;
}

/** One VMA for each run of neighbouring addresses. */
function areas(
  machine: Machine,
  name: string,
  mapped: readonly number[],
  shared: Pick<Vma, 'rwsem' | 'close'>,
): Vma[] {
  const starts = mapped.filter((address) => !mapped.includes(address - PAGE_SIZE));
  return starts.map((start) => {
    let end = start + PAGE_SIZE;
    while (mapped.includes(end)) end += PAGE_SIZE;
    const linked = machine.memory.variable(`vma(${name}, 0x${start.toString(16)})->linked`, 1);
    return Object.freeze({ start, end, linked, ...shared });
  });
}

function uniqueName(machine: Machine, kind: string): string {
  if (!machine.memory.frameByName.has(kind)) return kind;
  let number = 2;
  while (machine.memory.frameByName.has(`${kind}${number}`)) number++;
  return `${kind}${number}`;
}

function load(
  machine: Machine,
  kernel: Kernel,
  name: string,
  root: Page,
  tree: Pick<Mm, 'ptl' | 'mapped' | 'vmas'>,
  options: MmOptions,
): Mm {
  const { memory } = machine;
  const id = root.frame;
  const pmd_huge_pte = memory.pointer(`${name}->pmd_huge_pte`);
  hold_pages(machine, pmd_huge_pte);
  const { on = machine.cpus.map((cpu) => cpu.name), ran_on = [], cpumask = on } = options;
  const mm: Mm = Object.freeze({
    name,
    id,
    kernel,
    pgd: root.frame,
    mmap_lock: memory.variable(`${name}->mmap_lock`),
    cpumask: machine.cpus.map((cpu) =>
      memory.variable(`mm_cpumask(${name})[${cpu.name}]`, cpumask.includes(cpu.name) ? 1 : 0),
    ),
    tlb_gen: memory.variable(`${name}->context.tlb_gen`, 1),
    tlb_flush_pending: memory.variable(`${name}->tlb_flush_pending`),
    tlb_flush_batched: memory.variable(`${name}->tlb_flush_batched`),
    write_protect_seq: memory.variable(`${name}->write_protect_seq`),
    has_pinned: memory.variable(`${name}->flags.MMF_HAS_PINNED`),
    pmd_huge_pte,
    ...tree,
    ...(kernel.config.MMU_NOTIFIER ? { notifiers: new_notifiers(machine, name) } : {}),
  });
  (kernel.mms as Map<number, Mm>).set(id, mm);
  for (const cpu of machine.cpus) {
    if (ran_on.includes(cpu.name)) cache_mm(machine, cpu, mm);
    if (on.includes(cpu.name)) load_mm(machine, cpu, mm);
  }
  return mm;
}

/** Where the entry for `addr` in the table at `level` is when the scenario begins. */
function entry_at(machine: Machine, mm: Mm, addr: number, level: number): EntryPointer {
  const steps = [...walk(machine, mm.pgd, addr)];
  const frame = steps.find((step) => step.level === level)?.table ?? mm.pgd;
  return Object.freeze({ frame, generation: 1, index: indexAt(machine.arch, level, addr) });
}

/** The page table that holds the leaf entry for `addr` when the scenario begins. */
export function pte_table(machine: Machine, mm: Mm, addr: number): Page {
  return machine.memory.page(entry_at(machine, mm, addr, 0).frame, 1);
}

/** Pointer to the PMD entry for `addr`, as it is when the scenario begins. */
export function pmd_off(machine: Machine, mm: Mm, addr: number): Pmdp {
  return entry_at(machine, mm, addr, 1);
}

/** Pointer to the leaf entry for `addr`, as it is when the scenario begins. */
export function pte_off(machine: Machine, mm: Mm, addr: number): Ptep {
  return entry_at(machine, mm, addr, 0);
}
