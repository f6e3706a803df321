import { GracewalkError } from '../../../../base/errors.ts';
import type { Machine } from '../../../../machine/machine.ts';
import type { Page, Word } from '../../../../machine/memory.ts';
import { stageNamed } from '../../../../machine/stages.ts';
import { initialObject } from '../../../../machine/ops/slab.ts';
import { new_vm, sptep_at, type InitialSpte, type VmOptions } from '../../../virt/kvm/boot.ts';
import type { Kvm, KvmMmuOps, Memslot, Sptep } from '../../../virt/kvm/types.ts';
import type { Mm } from '../../../mm/types.ts';
import { make_spte, mark_spte_for_access_track, masks_of } from './spte.ts';
import { write_protected } from './spte-writable.ts';
import { new_pte_list_cache, type PteListDesc, type RmapHead } from './pte-list.ts';
import { KVM_RMAP_MANY, RMAP_TAGS, pointer_val } from './rmap.ts';

/**
 * Virtual machines with shadow pages, as a scenario finds them: tables that KVM finds by reverse maps, and whose
 * memory it takes back when it likes. Nothing here is a step.
 */

/** struct kvm_mmu_page: a table with leaf entries, and where it is linked. */
export interface ShadowPage {
  readonly spt: Page;
  /** sp->parent_ptes: the entry of the root that leads to it. */
  readonly parent: Sptep;
  /** Its entries that the scenario uses, and the guest frame that each maps (sp->shadowed_translation). */
  readonly gfns: ReadonlyMap<number, number>;
}

/** kvm->arch and slot->arch, as far as shadow pages go. */
export interface ShadowMmu {
  /** slot->arch.rmap[0], by guest frame. */
  readonly rmap: ReadonlyMap<number, RmapHead>;
  /** Shadow pages by the table's frame. */
  readonly pages: ReadonlyMap<number, ShadowPage>;
  /** kvm->arch.active_mmu_pages: the oldest of the pages that may be taken back, or none. */
  readonly active_mmu_pages: Word;
}

/** A leaf as the scenario finds it: used, writable and dirty if nothing else is said. */
export interface ShadowMapping {
  readonly page: Page;
  readonly writable?: boolean;
  /** As `writable` is, or could be made without a lock; true if not said. */
  readonly mmu_writable?: boolean;
  readonly dirty?: boolean;
  readonly accessed?: boolean;
  /** 1 for a huge page. */
  readonly level?: number;
}

export interface ShadowVmOptions extends Omit<VmOptions, 'memslots' | 'links' | 'mapped'> {
  readonly mapped?: Readonly<Record<number, ShadowMapping>>;
  /**
   * Places in the tree (as guest frames of a tree without shadowing) that map a guest frame, where there are
   * others than the frame itself: `{ 0: [0, 512] }` are entries of two shadow pages that both map frame 0.
   */
  readonly shadowed?: Readonly<Record<number, readonly number[]>>;
  /** The guest frames whose stores are logged. */
  readonly dirty_log?: readonly number[];
}

const key = ({ name }: Kvm): string => `shadow pages of ${name}`;

export function shadow_mmu(kvm: Kvm): ShadowMmu {
  return kvm.machine.objects.get(key(kvm)) as ShadowMmu;
}

/** gfn_to_rmap() at the lowest level. */
export function gfn_to_rmap(kvm: Kvm, gfn: number): RmapHead {
  const head = shadow_mmu(kvm).rmap.get(gfn);
  if (head) return head;
  throw new GracewalkError('E117', `guest frame ${gfn} of ${kvm.name} has no rmap`, {
    help: 'map it, or name it in `tables_for`, when the virtual machine is made',
  });
}

/** sptep_to_sp(). */
export function sptep_to_sp(kvm: Kvm, { frame }: Sptep): ShadowPage {
  return shadow_mmu(kvm).pages.get(frame) as ShadowPage;
}

/** kvm_mmu_page_get_gfn(): the guest frame that an entry maps; of a page that a fault has made, its place. */
export function sptep_to_gfn(kvm: Kvm, { frame, index }: Sptep): number {
  return shadow_mmu(kvm).pages.get(frame)?.gfns.get(index) ?? index;
}

/** A virtual machine whose tables are shadow pages, with one slot for all of `mm`. */
export function new_shadow_vm(
  machine: Machine,
  mm: Mm,
  name: string,
  mmu: KvmMmuOps,
  { shadowed = {}, dirty_log = [], mapped: mappings = {}, ...options }: ShadowVmOptions,
): Kvm {
  const dirty_bitmap: Word[] = [];
  for (const gfn of dirty_log) dirty_bitmap[gfn] = machine.memory.variable(`dirty_bitmap[${gfn}]`);
  const slot: Memslot = { id: 0, base_gfn: 0, npages: 512, userspace_addr: 0 };
  const memslots = [[dirty_log.length > 0 ? { ...slot, dirty_bitmap } : slot]];
  const tables = options.tables ?? machine.arch.seconds?.[0]?.name ?? 'second-stage';
  const stage = stageNamed(machine.arch, tables);
  const kind = { machine, tables, stage } as Kvm; // what the functions for entries ask
  const links = masks_of(kind).present;
  const entries = Object.entries(mappings);
  const first = Object.fromEntries(entries.map(([place, it]) => [place, initial_spte(kind, it)]));
  const mapped = entries.filter(([, { level = 0 }]) => level === 0).map(([place]) => Number(place));
  const places = [...mapped, ...(options.tables_for ?? [])];
  const all = { ...options, tables, memslots, links, mapped: first, gfns: places };
  const kvm = new_vm(machine, mm, name, mmu, all);
  const gfnOf = new Map(places.map((place) => [place, place]));
  for (const [gfn, list] of Object.entries(shadowed)) {
    for (const place of list) gfnOf.set(place, Number(gfn));
  }
  const pages = new Map<number, ShadowPage>();
  const rmap = new Map<number, RmapHead>();
  const cache = new_pte_list_cache();
  for (const [place, gfn] of gfnOf) add_place(kvm, pages, place, gfn);
  for (const gfn of new Set([...gfnOf.values(), ...dirty_log])) {
    const val = machine.memory.pointer(`rmap[${gfn}]`, RMAP_TAGS);
    const chain = mapped.filter((it) => gfnOf.get(it) === gfn);
    rmap.set(gfn, { val, cache });
    link_chain(
      kvm,
      { val, cache },
      chain.map((it) => leaf_at(kvm, it)),
    );
  }
  const active_mmu_pages = machine.memory.pointer('active_mmu_pages', {});
  const known: ShadowMmu = { rmap, pages, active_mmu_pages };
  machine.objects.set(key(kvm), known);
  return kvm;
}

function initial_spte(kvm: Kvm, mapping: ShadowMapping): InitialSpte {
  const { page, writable = true, mmu_writable = true, level = 0 } = mapping;
  const { dirty = true, accessed = true } = mapping;
  const made = make_spte(kvm, level, page, { write: mmu_writable, host_writable: true });
  const protected_ = writable ? made : write_protected(kvm, made, level, false);
  const used = accessed ? protected_ : mark_spte_for_access_track(kvm, protected_, level);
  const bits = dirty ? used.bits : used.bits & ~masks_of(kvm).dirty;
  return { page, bits, level };
}

/** The entry for a place in the tree, as the scenario finds it. */
export function leaf_at(kvm: Kvm, place: number): Sptep {
  const { memory } = kvm.machine;
  let table: Page = kvm.root;
  for (let level = kvm.root_level; level > 0; level--) {
    const { frame, generation } = memory.peekWide(
      memory.resolve(sptep_at(kvm, table, level, place)),
    );
    table = memory.page(frame, generation);
  }
  return sptep_at(kvm, table, 0, place);
}

/** The shadow page that has the entry for a place in the tree. */
export function sp_at(kvm: Kvm, place: number): ShadowPage {
  return sptep_to_sp(kvm, leaf_at(kvm, place));
}

/** The shadow page for a place in the tree is the oldest of those that may be taken back. */
export function on_active_list(kvm: Kvm, place: number): void {
  const { frame, generation } = sp_at(kvm, place).spt;
  const first = pointer_val(kvm, { frame, generation, index: 0 }, 0n);
  kvm.machine.memory.storeWide(shadow_mmu(kvm).active_mmu_pages, first);
}

function add_place(kvm: Kvm, pages: Map<number, ShadowPage>, place: number, gfn: number): void {
  const { frame, generation, index } = leaf_at(kvm, place);
  const gfns = new Map(pages.get(frame)?.gfns).set(index, gfn);
  const parent = sptep_at(kvm, kvm.root, kvm.root_level, place);
  pages.set(frame, { spt: kvm.machine.memory.page(frame, generation), parent, gfns });
}

function link_chain(kvm: Kvm, { val, cache }: RmapHead, chain: readonly Sptep[]): void {
  const { memory } = kvm.machine;
  const [first] = chain;
  if (!first) return;
  if (chain.length === 1) {
    memory.storeWide(val, pointer_val(kvm, first, 0n));
    return;
  }
  const values = { spte_count: chain.length };
  const desc = initialObject(kvm.machine, cache, 'desc', values) as PteListDesc;
  memory.storeWide(desc.sptes0, pointer_val(kvm, first, 0n));
  memory.storeWide(desc.sptes1, pointer_val(kvm, chain[1] as Sptep, 0n));
  const to = { frame: desc.frame, generation: desc.generation, index: 0 };
  memory.storeWide(val, pointer_val(kvm, to, KVM_RMAP_MANY));
}
