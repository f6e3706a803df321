import type { Actor } from './actor.ts';
import { Interner, type Cell } from './cells.ts';
import { isOut, type Walker } from './cpu.ts';
import type { Machine } from './machine.ts';
import { lifeGeneration } from './memory.ts';
import { levelAt, stageOf } from './stages.ts';
import { cacheable, type Cacheable } from './walk.ts';

/**
 * Translation caches as may-sets.
 *
 * Hardware may walk the tables and cache what it finds at any time. Exploring every fill would be endless;
 * instead each CPU has the set of translations and walk-cache entries that it *could* hold: everything that
 * was reachable from its loaded root at any moment since the last invalidation that covered it. There are
 * no fill steps, so a violation is a statement about sets: "this frame is freed while CPU0 may still hold a
 * translation to it", true exactly if some hardware could.
 *
 * A set is kept per (CPU, frame): freeing a frame asks only for the translations that name it. Additions
 * commute with each other; removals do not. An invalidation keeps what it could immediately refill, and
 * for that reads the entries that the covered translations came from: without those reads "clear;
 * invalidate" and "invalidate; clear" would look independent, and the second one is the bug.
 *
 * A translation that is not usable now (the vCPU is descheduled, the CPU lazy, its tag not loaded) when its
 * frame is freed is *doomed*: correct kernels leave such entries behind. The violation is a doomed entry
 * becoming usable without an invalidation in between.
 */
export interface Translation extends Cacheable {
  /** Root table of the walk that found it. */
  readonly root: number;
  /** What the CPU filed it under (PCID, ASID); the root itself where address spaces do not share tags. */
  readonly tag: number;
  /** The generation of the frame that it leads to, as the entry meant it. */
  readonly generation: number;
  readonly doomed: boolean;
}

/** What an invalidation covers. */
export interface InvalidationScope {
  /** Only translations of this root, or all. */
  readonly root?: number;
  readonly start?: number;
  /** Exclusive. */
  readonly end?: number;
  /** Walk-cache entries too. A last-level-only flush leaves them. */
  readonly tables: boolean;
  /** Of the leaf entries only those of this level, if there is a hint (arm64's TTL field). */
  readonly level?: number;
}

export class Translations {
  private readonly machine: Machine;
  private readonly items: Interner<Translation> = new Interner(
    (t) =>
      `${t.root} ${t.tag} ${t.level} ${t.source} ${t.bits} ${t.frame}/${t.generation} ${t.base} ${t.doomed}`,
  );
  private readonly sets: Interner<readonly number[]> = new Interner((set) => set.join());
  private readonly slots: Cell[][] = [];

  constructor(machine: Machine) {
    this.machine = machine;
    this.sets.id([]); // the empty set is 0, a cell's first value
  }

  /** The cell that holds what `cpu` may have cached to `frame`. */
  slot(cpu: Walker, frame: number): Cell {
    const row = (this.slots[cpu.index] ??= []);
    return (row[frame] ??= this.machine.cells.allocate());
  }

  /** Everything that `cpu` may hold to `frame`, recorded. */
  held(cpu: Walker, frame: number): Translation[] {
    return this.translations(this.machine.cells.get(this.slot(cpu, frame)));
  }

  private translations(set: number): Translation[] {
    return this.sets.at(set).map((id) => this.items.at(id));
  }

  private frames(cpu: Walker): readonly number[] {
    return this.sets.at(this.machine.cells.get(cpu.tlbFrames));
  }

  /** Everything that `cpu` may hold, recorded. */
  all(cpu: Walker): Translation[] {
    return this.frames(cpu).flatMap((frame) => this.held(cpu, frame));
  }

  /** Names of the frames that `cpu` may hold translations to, for people: nothing is recorded. */
  cachedNames(cpu: Walker): string[] {
    const { cells, memory } = this.machine;
    const frames = this.sets.at(cells.peek(cpu.tlbFrames));
    return memory.byName(frames).map((frame) => {
      const slot = this.slots[cpu.index]?.[frame];
      const held = slot === undefined ? [] : this.translations(cells.peek(slot));
      return `${memory.info(frame).name}${held.some(({ doomed }) => doomed) ? ' (stale)' : ''}`;
    });
  }

  /** Could the hardware use it at this moment? */
  usable(cpu: Walker, t: Translation): boolean {
    const { cells } = this.machine;
    if (isOut(cells, cpu)) return false;
    if (!this.tagged(cpu, t)) return false;
    return t.isTable || cells.get(cpu.lazy) === 0;
  }

  /** Is it filed under the tag that is loaded? The hardware asks for nothing else. */
  private tagged(cpu: Walker, t: Translation): boolean {
    const { cells } = this.machine;
    return cells.get(cpu.root) !== 0 && cells.peek(cpu.tag) === t.tag;
  }

  /** Does it belong to an address space that had the loaded tag before? */
  isForeign(cpu: Walker, t: Translation): boolean {
    return this.machine.cells.get(cpu.root) !== t.root && this.tagged(cpu, t);
  }

  private with(set: number, id: number): number {
    const list = this.sets.at(set);
    if (list.includes(id)) return set;
    return this.sets.id([...list, id].sort((a, b) => a - b));
  }

  private without(set: number, id: number): number {
    return this.sets.id(this.sets.at(set).filter((other) => other !== id));
  }

  private add(who: Actor, cpu: Walker, t: Translation): void {
    const { cells, sanitizers } = this.machine;
    const slot = this.slot(cpu, t.frame);
    const before = cells.peek(slot);
    cells.include(slot, this.with(before, this.items.id(t)));
    // Even if the frame is in the set already: another order of additions would put it there only now.
    cells.include(cpu.tlbFrames, this.with(cells.peek(cpu.tlbFrames), t.frame));
    for (const sanitizer of sanitizers) {
      sanitizer.reachable?.(this.machine, who, cpu, t.frame, t.generation);
    }
  }

  private remove(cpu: Walker, t: Translation): void {
    const { cells } = this.machine;
    const slot = this.slot(cpu, t.frame);
    const after = this.without(cells.get(slot), this.items.id(t));
    cells.set(slot, after);
    if (after === 0) {
      cells.set(cpu.tlbFrames, this.without(cells.get(cpu.tlbFrames), t.frame));
    }
  }

  /** Marks `t` as left behind by a correct kernel: it must be invalidated before it becomes usable. */
  doom(cpu: Walker, t: Translation): void {
    if (t.doomed) return;
    const { cells } = this.machine;
    const slot = this.slot(cpu, t.frame);
    const rest = this.without(cells.get(slot), this.items.id(t));
    cells.set(slot, this.with(rest, this.items.id({ ...t, doomed: true })));
  }

  /**
   * The entry at `address` in the table `frame` now says `bits`: every CPU that can walk there may cache it.
   * Whether a CPU can is read for cleared entries too: loading a root (or linking the table) before the
   * clearing leaves a translation that loading it afterwards does not.
   */
  entryStored(who: Actor, address: number, frame: number, level: number, bits: bigint): void {
    const { arch, cells, walkers } = this.machine;
    const { present } = arch.decode(level, bits);
    const stage = stageOf(level);
    for (const cpu of walkers) {
      if (cpu.stage !== stage) continue; // it never walks such tables
      const root = cells.get(cpu.root);
      if (root === 0) continue;
      for (const base of this.walkBases(cpu, root, frame)) {
        if (present) this.reach(who, cpu, root, address, level, bits, base);
      }
    }
  }

  /** The virtual addresses at which a walk of `cpu` from `root` can arrive in the table `frame`. */
  private walkBases(cpu: Walker, root: number, frame: number): number[] {
    if (frame === root) return [0];
    const bases = this.held(cpu, frame)
      .filter((t) => t.isTable && t.root === root && this.tagged(cpu, t))
      .map((t) => t.base);
    return [...new Set(bases)].sort((a, b) => a - b);
  }

  private reach(
    who: Actor,
    cpu: Walker,
    root: number,
    address: number,
    level: number,
    bits: bigint,
    tableBase: number,
  ): void {
    const { arch, memory } = this.machine;
    const kept = cacheable(arch, level, address, bits, tableBase);
    const { generation } = memory.peekWide(memory.at(address, 0));
    const tag = this.machine.cells.peek(cpu.tag);
    this.add(who, cpu, { root, tag, ...kept, generation, doomed: false });
    if (kept.isTable) this.reachTable(who, cpu, root, kept.frame, kept.base);
  }

  /** Everything below a table that became reachable. */
  private reachTable(who: Actor, cpu: Walker, root: number, frame: number, base: number): void {
    const { arch, cells, memory } = this.machine;
    const info = memory.info(frame);
    const generation = lifeGeneration(cells.get(info.life)); // a frame handed out again is another table
    const level = cells.peek(info.level);
    if (level < 0) return;
    for (const address of memory.wordsOf(frame)) {
      const pointer = memory.at(address, generation);
      if (!arch.decode(level, memory.peekWide(pointer).bits).present) continue;
      const { bits } = memory.loadWide(pointer);
      this.reach(who, cpu, root, address, level, bits, base);
    }
  }

  /** Is what `t` says still there to be found, by a walk of `cpu` that starts from its root or caches? */
  private refillable(cpu: Walker, t: Translation): boolean {
    const { cells, memory } = this.machine;
    if (cells.get(cpu.root) !== t.root || !this.tagged(cpu, t)) return false;
    const table = Math.floor(t.source / 4096);
    const leads = (up: Translation): boolean =>
      up.isTable && up.root === t.root && up.tag === t.tag;
    if (table !== t.root && !this.held(cpu, table).some(leads)) return false;
    const life = cells.get(memory.info(table).life);
    const entry = memory.loadWide(memory.at(t.source, lifeGeneration(life)));
    return entry.bits === t.bits && entry.generation === t.generation;
  }

  /**
   * An invalidation on `cpu` takes effect. What it could refill at once stays, but as a new translation: one
   * that was doomed is gone, whatever the entry says by now.
   */
  invalidate(who: Actor, cpu: Walker, scope: InvalidationScope): void {
    const covered = this.all(cpu).filter((t) => this.covers(scope, t));
    covered.sort((a, b) => b.level - a.level); // a table's entry first, then what it leads to
    for (const t of covered) {
      const refilled = this.refillable(cpu, t);
      if (refilled && !t.doomed) continue;
      this.remove(cpu, t);
      if (refilled) this.add(who, cpu, { ...t, doomed: false });
    }
  }

  private covers(scope: InvalidationScope, t: Translation): boolean {
    if (t.isTable && !scope.tables) return false;
    if (!t.isTable && scope.level !== undefined && scope.level !== t.level) return false;
    if (scope.root !== undefined && scope.root !== t.root) return false;
    if (scope.start === undefined || scope.end === undefined) return true;
    const size = 2 ** levelAt(this.machine.arch, t.level).shift;
    return t.base < scope.end && scope.start < t.base + size;
  }

  /** Loads a root under a tag. With `flush`, everything that is cached under the tag is dropped first. */
  loadRoot(who: Actor, cpu: Walker, root: number, flush: boolean, tag: number = root): void {
    const { cells, memory } = this.machine;
    cells.set(cpu.root, root);
    cells.poke(cpu.tag, tag);
    cells.poke(
      cpu.rootGeneration,
      root === 0 ? 0 : lifeGeneration(cells.get(memory.info(root).life)),
    );
    if (flush) for (const t of this.all(cpu)) if (t.tag === tag) this.remove(cpu, t);
    if (root !== 0) this.reachTable(who, cpu, root, root, 0);
    this.resumed(who, cpu);
  }

  /** `cpu` can use translations that it could not use before. */
  resumed(who: Actor, cpu: Walker): void {
    for (const sanitizer of this.machine.sanitizers) sanitizer.resume?.(this.machine, who, cpu);
  }
}
