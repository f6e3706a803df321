import { counts_open } from '../../../machine/balance.ts';
import { GracewalkError } from '../../../base/errors.ts';
import type { Actor } from '../../../machine/actor.ts';
import type { Machine } from '../../../machine/machine.ts';
import { ALLOCATED, PAGE_SIZE, makeLife, type Page, type Word } from '../../../machine/memory.ts';
import { watchGuestFrames } from '../../../machine/second-stages.ts';
import { STAGE, levelAt, stageNamed } from '../../../machine/stages.ts';
import { indexAt } from '../../../machine/walk.ts';
import type { Mm } from '../../mm/types.ts';
import { KVM_MEMSLOT_INVALID } from './memslots.ts';
import { INVALID_GPA } from './mmu_invalidate.ts';
import { KVM_HVA_ERR_BAD, NO_GENERATION } from './pfncache.ts';
import type {
  Kvm,
  KvmMmuOps,
  KvmRequest,
  Memslot,
  MemslotObject,
  Memslots,
  PfnCache,
  Sptep,
  Vcpu,
} from './types.ts';
import {
  KVM_REQ_MMU_FREE_OBSOLETE_ROOTS,
  KVM_REQ_TLB_FLUSH,
  OUTSIDE_GUEST_MODE,
  VCPU_MODES,
} from './vcpu.ts';

/**
 * Virtual machines as a scenario finds them. Nothing here is a step; it all happened before the first one.
 */
export interface VmOptions {
  /** The CPUs that the threads of its vCPUs run on, one vCPU for each. */
  readonly vcpus: readonly string[];
  /** The kind of the guest's tables, by its name in `arch.seconds`; the first of them if not said. */
  readonly tables?: string;
  /** Its slots: the sets that there will be, the first one current. Guest frames 0 to 511 if not said. */
  readonly memslots?: readonly Memslots[];
  /** Guest frames that are mapped already, and every vCPU may have cached them: the entries' bits. */
  readonly mapped?: Readonly<Record<number, InitialSpte>>;
  /** Guest frames for which there is a leaf table although it maps nothing. */
  readonly tables_for?: readonly number[];
  /** Guest frames for which KVM has a pfn cache, which is not valid yet. */
  readonly gpcs?: readonly number[];
  /** Bits of software's own in the entries that lead to tables. */
  readonly links?: bigint;
  /** Guest frames that may be mapped: those of the slots, if not said. */
  readonly gfns?: readonly number[];
  /** Level of the root: 1, a tree of two levels, if not said; 3 is all four. */
  readonly root_level?: number;
}

/** A leaf when the scenario begins; at a level above 0 it maps a huge page. */
export interface InitialSpte {
  readonly page: Page;
  readonly bits: bigint;
  readonly level?: number;
}

/** Of kvm->mmu_invalidate_range_start and _end. */
const RANGE_NAMES = { [INVALID_GPA]: 'INVALID_GPA' };

/** A virtual machine whose memory is that of `mm`: guest frame n is the page at address n * PAGE_SIZE. */
export function new_vm(
  machine: Machine,
  mm: Mm,
  name: string,
  mmu: KvmMmuOps,
  options: VmOptions,
): Kvm {
  const { memory } = machine;
  const { root_level = 1, mapped = {}, tables_for = [] } = options;
  const tables = options.tables ?? machine.arch.seconds?.[0]?.name ?? 'second-stage';
  const stage = stageNamed(machine.arch, tables);
  const variable = (field: string, initial = 0): Word =>
    memory.variable(`${name}->${field}`, initial);
  const whole = [{ id: 0, base_gfn: 0, npages: 512, userspace_addr: 0 }];
  const memslot_sets = options.memslots ?? [whole];
  const vcpus: Vcpu[] = [];
  const gpcs: PfnCache[] = [];
  const tree = new Tree(machine, name, stage, root_level, options.links ?? 0n);
  const kvm: Kvm = {
    name,
    machine,
    kernel: mm.kernel,
    mm,
    stage,
    tables,
    root_level,
    mmu_lock: variable('mmu_lock'),
    mmu_invalidate_seq: variable('mmu_invalidate_seq'),
    mmu_invalidate_in_progress: counts_open(machine, variable('mmu_invalidate_in_progress')),
    mmu_invalidate_range_start: memory.variable(
      `${name}->mmu_invalidate_range_start`,
      0,
      RANGE_NAMES,
    ),
    mmu_invalidate_range_end: memory.variable(`${name}->mmu_invalidate_range_end`, 0, RANGE_NAMES),
    mn_active_invalidate_count: counts_open(machine, variable('mn_active_invalidate_count')),
    mn_invalidate_lock: variable('mn_invalidate_lock'),
    memslot_sets,
    memslot_objects: new_memslots(machine, memslot_sets),
    memslots: variable('memslots'),
    slots_lock: variable('slots_lock'),
    vm_dead: variable('vm_dead'),
    srcu: variable('srcu'),
    gpcs,
    root: tree.root,
    root_role_invalid: memory.variable(`${memory.info(tree.root.frame).name}->role.invalid`),
    mmu,
    vcpus,
  };
  watchGuestFrames(machine, stage, options.gfns ?? frames_of(kvm.memslot_sets));
  for (const gfn of tables_for) tree.table(gfn);
  options.gpcs?.forEach((gfn) => gpcs.push(new_gpc(machine, kvm, gfn)));
  for (const [gfn, spte] of Object.entries(mapped)) tree.map(Number(gfn), spte);
  options.vcpus.forEach((cpu, at) => vcpus.push(new_vcpu(machine, kvm, cpu, at)));
  return Object.freeze(kvm);
}

function frames_of(sets: readonly Memslots[]): number[] {
  return sets
    .flat()
    .flatMap(({ base_gfn, npages }) => Array.from({ length: npages }, (_, at) => base_gfn + at));
}

/** The slots of all sets as objects in memory: one that is in several sets is one object. */
function new_memslots(
  { cells, memory }: Machine,
  sets: readonly Memslots[],
): ReadonlyMap<Memslot, MemslotObject> {
  const objects = new Map<Memslot, MemslotObject>();
  for (const slot of new Set(sets.flat())) {
    const kind = slot.invalid ? 'invalid_slot' : 'memslot';
    let name = `${kind}${slot.id}`;
    while (memory.frameByName.has(name)) name += "'"; // the same slot, moved
    const { index, life } = memory.frame(name);
    cells.values[life] = makeLife(1, ALLOCATED);
    const field = (at: number, what: string): Word =>
      memory.at(index * PAGE_SIZE + at * 8, 1, `${name}->${what}`);
    const object = { flags: field(0, 'flags'), userspace_addr: field(1, 'userspace_addr') };
    memory.store(object.flags, slot.invalid ? KVM_MEMSLOT_INVALID : 0);
    memory.store(object.userspace_addr, slot.userspace_addr);
    objects.set(slot, Object.freeze({ memory: memory.page(index, 1), ...object }));
  }
  return objects;
}

function new_gpc(machine: Machine, kvm: Kvm, gfn: number): PfnCache {
  const name = 'gpc';
  const variable = (field: string, initial = 0): Word =>
    machine.memory.variable(`${name}->${field}`, initial);
  return Object.freeze({
    name,
    kvm,
    gfn,
    lock: variable('lock'),
    refresh_lock: variable('refresh_lock'),
    valid: variable('valid'),
    uhva: variable('uhva', KVM_HVA_ERR_BAD),
    generation: variable('generation', NO_GENERATION),
    khva: machine.memory.pointer(`${name}->khva`),
  });
}

function new_vcpu(machine: Machine, kvm: Kvm, cpu: string, at: number): Vcpu {
  const found = machine.cpus.find(({ name }) => name === cpu);
  if (!found) {
    throw new GracewalkError('E117', `a vCPU of ${kvm.name} on ${cpu}, which there is not`, {
      help: `the machine has ${machine.cpus.map(({ name }) => name).join(', ')}`,
    });
  }
  const name = `vCPU${at}`;
  const walker = machine.addWalker(name, kvm.stage, true);
  // It has been in the guest before: what it may have cached then is still there, under its tag.
  machine.translations.loadRoot(NOBODY, walker, kvm.root.frame, false);
  machine.translations.loadRoot(NOBODY, walker, 0, false);
  const { memory } = machine;
  const request = (req: KvmRequest): Word => memory.variable(`${name}->requests.${req}`);
  return Object.freeze({
    name,
    kvm,
    cpu: found.index,
    walker: walker.index,
    mode: memory.variable(`${name}->mode`, OUTSIDE_GUEST_MODE, VCPU_MODES),
    requests: {
      KVM_REQ_TLB_FLUSH: request(KVM_REQ_TLB_FLUSH),
      KVM_REQ_MMU_FREE_OBSOLETE_ROOTS: request(KVM_REQ_MMU_FREE_OBSOLETE_ROOTS),
    },
  });
}

const NOBODY: Actor = Object.freeze({
  index: 0,
  name: 'setup',
  column: '',
  cpu: -1,
  kind: 'host',
  daemon: true,
  shared: false,
  creator: -1,
});

/** The tables of a guest's second stage when the scenario begins. */
class Tree {
  readonly root: Page;
  private readonly tables: Map<string, Page> = new Map();
  private readonly machine: Machine;
  private readonly base: number;
  private readonly top: number;
  private readonly links: bigint;

  constructor(machine: Machine, vm: string, stage: number, top: number, links: bigint) {
    this.machine = machine;
    this.links = links;
    this.base = stage * STAGE;
    this.top = top;
    this.root = this.make(machine.memory.frameByName.has('root') ? `root(${vm})` : 'root', top);
    const roots = (machine.objects.get('roots') as number[] | undefined) ?? [];
    machine.objects.set('roots', [...roots, this.root.frame]);
  }

  private make(name: string, level: number): Page {
    const { cells, memory } = this.machine;
    const info = memory.frame(name);
    cells.values[info.life] = makeLife(1, ALLOCATED);
    cells.values[info.level] = this.base + level;
    cells.values[info.refcount.cell] = 1;
    return memory.page(info.index, 1);
  }

  /** The table of a level, of leaf entries if not said, that covers a guest frame. */
  table(gfn: number, at = 0): Page {
    let table = this.root;
    for (let level = this.top; level > at; level--) table = this.below(table, level, gfn);
    return table;
  }

  private below(table: Page, level: number, gfn: number): Page {
    const { arch } = this.machine;
    const { shift } = levelAt(arch, this.base + level);
    const key = `${level}/${Math.floor((gfn * PAGE_SIZE) / 2 ** shift)}`;
    const known = this.tables.get(key);
    if (known) return known;
    const made = this.make(`sp${this.tables.size === 0 ? '' : this.tables.size + 1}`, level - 1);
    this.tables.set(key, made);
    this.put(table, level, gfn, arch.table(this.base + level, made.frame) | this.links);
    this.machine.cells.values[this.machine.memory.info(made.frame).links] = 1;
    return made;
  }

  map(gfn: number, { page, bits, level = 0 }: InitialSpte): void {
    this.put(this.table(gfn, level), level, gfn, bits, page.generation);
    if (page.frame < 0) throw new RangeError(`guest frame ${gfn} maps nothing`);
  }

  private put(table: Page, level: number, gfn: number, bits: bigint, generation = 1): void {
    const { arch, memory } = this.machine;
    const index = indexAt(arch, this.base + level, gfn * PAGE_SIZE);
    const word = memory.at(table.frame * PAGE_SIZE + index * 8, table.generation);
    memory.storeWide(word, memory.entry(bits, generation, this.base + level));
  }
}

/** Pointer to the entry of `level` for a guest frame in `table`. */
export function sptep_at(kvm: Kvm, table: Page, level: number, gfn: number): Sptep {
  const at = kvm.stage * STAGE + level;
  const index = indexAt(kvm.machine.arch, at, gfn * PAGE_SIZE);
  return Object.freeze({ frame: table.frame, generation: table.generation, index, level: at });
}
