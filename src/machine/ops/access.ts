import type { Actor } from '../actor.ts';
import { addressText, type Walker } from '../cpu.ts';
import type { Machine } from '../machine.ts';
import { PAGE_SIZE, type Entry, type Page, type Word } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { levelAt } from '../stages.ts';
import type { Translation } from '../translations.ts';
import { indexAt } from '../walk.ts';
import { storeEntry } from './entry-store.ts';

/**
 * Accesses of user code: a load or store at a virtual address, by whoever runs on the CPU.
 *
 * The CPU may use any translation that it could have cached, or walk now, from its root or from any table
 * that its walk caches lead to. Each distinct result is an outcome of the step. A walk sets the marks of the
 * leaf entry (accessed, dirty) by one atomic read-modify-write, as the descriptor's `hardware.touch` says; a
 * cached translation that has them already is used without looking at memory (Intel SDM vol. 3A, Accessed
 * and Dirty Flags). One whose mark is missing makes the CPU look again, which is a walk. Where no permission
 * is found the access faults; the tables' own accessed marks and permissions are taken to be set.
 *
 * Atomic: in hardware the walk and the access are two moments, but whatever an invalidation waits for (the
 * interrupt, the completion of a broadcast) it waits for accesses begun before it.
 */
interface Way {
  /** What the access touches; null: it faults, or it walks into memory that is no table any more. */
  readonly page: Page | null;
  /** The entry that a walk ended at. */
  readonly entry: Word | null;
  /** What hardware makes of it, if it is not that already. */
  readonly marked: bigint | null;
}

const FAULT: Way = Object.freeze({ page: null, entry: null, marked: null });

function key(m: Machine, { page, entry, marked }: Way): string {
  const to = page ? `${m.memory.info(page.frame).name}/${page.generation}` : '~';
  return `${to} ${marked === null && page ? '' : (entry?.name ?? '')}`;
}

/** The level that a walk starts at: what a hypervisor loads may be a tree of fewer levels. */
function topOf(m: Machine, { stage }: Walker, root: number): number {
  return stage === 0 ? m.arch.levels.length - 1 : m.levelOf(root);
}

class Ways {
  private readonly found: Map<string, Way> = new Map();
  private readonly visited: Set<string> = new Set();
  private readonly m: Machine;
  private readonly address: number;
  private readonly write: boolean;

  constructor(m: Machine, cpu: Walker, address: number, write: boolean) {
    this.m = m;
    this.address = address;
    this.write = write;
    const all = m.translations.all(cpu);
    const kept = all.filter((t) => this.covers(t) && m.translations.usable(cpu, t));
    // Leaves first: of two ways to the same end, what is told must not depend on how frames are numbered.
    for (const t of kept) if (!t.isTable) this.cached(t);
    for (const t of kept) if (t.isTable) this.walk(t, t.level - 1);
    const frame = m.cells.get(cpu.root);
    const generation = m.cells.peek(cpu.rootGeneration);
    this.walk({ frame, generation }, topOf(m, cpu, frame));
  }

  /** In an order that does not depend on how the search came here. */
  list(): Way[] {
    return [...this.found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, way]) => way);
  }

  private covers({ base, level }: Translation): boolean {
    const { shift } = levelAt(this.m.arch, level);
    return base <= this.address && this.address < base + 2 ** shift;
  }

  private add(way: Way): void {
    const name = key(this.m, way);
    if (!this.found.has(name)) this.found.set(name, way);
  }

  private cached({ level, bits, frame, generation }: Translation): void {
    const marked = this.m.arch.hardware.touch(level, bits, { write: this.write });
    if (marked === null) this.add(FAULT);
    if (marked !== bits) return; // it looks at the entry again: one of the walks
    this.add({ page: this.m.memory.page(frame, generation), entry: null, marked: null });
  }

  private walk({ frame, generation }: Page, level: number): void {
    const { arch, memory } = this.m;
    const name = `${frame}/${generation}`;
    if (this.visited.has(name)) return;
    this.visited.add(name);
    const place = indexAt(arch, level, this.address) * 8;
    const word = memory.at(frame * PAGE_SIZE + place, generation);
    if (this.m.dangles(frame, generation)) {
      this.add({ page: null, entry: word, marked: null });
      return;
    }
    const entry = memory.loadWide(word);
    if (!entry.present) this.add(FAULT);
    else if (entry.table) this.walk(entry, level - 1);
    else this.leaf(level, word, entry);
  }

  private leaf(level: number, entry: Word, { bits, frame, generation }: Entry): void {
    const marked = this.m.arch.hardware.touch(level, bits, { write: this.write });
    if (marked === null) {
      this.add(FAULT);
      return;
    }
    const page = this.m.memory.page(frame, generation);
    this.add({ page, entry, marked: marked === bits ? null : marked });
  }
}

/** What a diagram says about the access that was just made. */
const remarks: WeakMap<Machine, string> = new WeakMap();

/**
 * A violation of the second stage drops what the processor has cached for the address (Intel SDM vol. 3C,
 * "Operations that Invalidate Cached Mappings"): else a guest could fault on an old entry for ever.
 */
function dropFaulting(m: Machine, who: Actor, walker: Walker, address: number): void {
  if (walker.stage === 0) return;
  m.translations.invalidate(who, walker, { start: address, end: address + 1, tables: true });
}

/** Translates, and returns the word that is accessed: null if there is none to access. */
function translate(
  m: Machine,
  who: Actor,
  walker: Walker,
  address: number,
  write: boolean,
): Word | null {
  const { page, entry, marked } = new Ways(m, walker, address, write).list()[m.outcome] as Way;
  const at = addressText(walker, address);
  remarks.set(m, walker.stage === 0 ? 'page fault' : `${at} faults`);
  if (entry) {
    // A table that was freed: the walk reads whatever is there now.
    if (!m.dereference(who, entry.frame, entry.generation, entry.name)) return null;
    if (marked !== null && page) {
      const before = m.memory.peekWide(entry);
      const after = m.memory.entry(marked, page.generation, m.levelOf(entry.frame));
      storeEntry(m, who, entry, after);
      for (const it of m.sanitizers) it.hardwareMarked?.(m, entry, before, after);
    }
  }
  if (!page) {
    if (!entry) dropFaulting(m, who, walker, address);
    return null;
  }
  const { name } = m.memory.info(page.frame);
  const mark = marked === null ? '' : `, and hardware marks ${entry?.name ?? ''}`;
  const from = walker.stage === 0 ? '' : `${at} `;
  remarks.set(m, `${from}${entry ? '' : 'cached '}-> ${name}${mark}`);
  const offset = (address % PAGE_SIZE) - (address % 8);
  const word = m.memory.at(page.frame * PAGE_SIZE + offset, page.generation);
  const what = walker.stage === 0 ? at : `${at} of ${walker.name}`;
  return m.dereference(who, page.frame, page.generation, what) ? word : null;
}

type LoadArgs = readonly [root: number, address: number];

const loadOp = defineOp('user_load', {
  ordering: 'none',
  guard: (read, m, who, [root]: LoadArgs) => runs(read, m, who, root),
  outcomes: (m, who, [, address]) => new Ways(m, m.cpu(who.cpu), address, false).list().length,
  exec: (m, who, [, address]): Entry | null => {
    const word = translate(m, who, m.cpu(who.cpu), address, false);
    return word && m.loadWide(who, word);
  },
  waitsFor: () => 'its CPU to run the address space',
  describe: (m) => ({ comment: remarks.get(m) }),
});

type StoreArgs = readonly [root: number, address: number, value: bigint];

const storeOp = defineOp('user_store', {
  ordering: 'store',
  guard: (read, m, who, [root]: StoreArgs) => runs(read, m, who, root),
  outcomes: (m, who, [, address]) => new Ways(m, m.cpu(who.cpu), address, true).list().length,
  exec: (m, who, [root, address, bits]): boolean => {
    const word = translate(m, who, m.cpu(who.cpu), address, true);
    if (!word) return false;
    const value = m.memory.entry(bits, 0);
    const act = (): void => {
      m.memory.storeWide(word, value);
      for (const it of m.sanitizers) it.userStored?.(m, who, { root, address, bits });
    };
    // One page may be mapped at several addresses: each store is to one of them.
    m.later(who, { name: `user_store at ${root}/${address}`, word, value, act });
    return true;
  },
  waitsFor: () => 'its CPU to run the address space',
  describe: (m) => ({ comment: remarks.get(m) }),
});

/** User code runs only where its address space is loaded and the CPU is not idling in the kernel. */
function runs(read: { get(cell: number): number }, m: Machine, who: Actor, root: number): boolean {
  const cpu = m.cpu(who.cpu);
  const loaded = read.get(cpu.root);
  const lazy = read.get(cpu.lazy);
  return loaded === root && lazy === 0;
}

/** One load of a 64-bit word by user code; null: it faulted. */
export function* access_load(root: number, address: number): Steps<Entry | null> {
  return yield* perform(loadOp, [root, address]);
}

/** One store of a 64-bit word by user code; `false`: it faulted. */
export function* access_store(root: number, address: number, value: bigint): Steps<boolean> {
  return yield* perform(storeOp, [root, address, value]);
}

type GuestLoad = readonly [walker: number, address: number];

/** The guest runs. */
function isEntered(read: { get(cell: number): number }, m: Machine, walker: number): boolean {
  return read.get(m.walker(walker).root) !== 0;
}

const guestLoadOp = defineOp('guest_load', {
  ordering: 'none',
  guard: (read, m, _who, [walker]: GuestLoad) => isEntered(read, m, walker),
  outcomes: (m, _who, [walker, address]: GuestLoad) =>
    new Ways(m, m.walker(walker), address, false).list().length,
  exec: (m, who, [walker, address]): Entry | null => {
    const word = translate(m, who, m.walker(walker), address, false);
    return word && m.loadWide(who, word);
  },
  waitsFor: (m, _who, [walker]) => `${m.walker(walker).name} to be in the guest`,
  describe: (m) => ({ comment: remarks.get(m) }),
});

type GuestStore = readonly [walker: number, address: number, value: bigint];

const guestStoreOp = defineOp('guest_store', {
  ordering: 'store',
  guard: (read, m, _who, [walker]: GuestStore) => isEntered(read, m, walker),
  outcomes: (m, _who, [walker, address]: GuestStore) =>
    new Ways(m, m.walker(walker), address, true).list().length,
  exec: (m, who, [walker, address, bits]): boolean => {
    const word = translate(m, who, m.walker(walker), address, true);
    if (!word) return false;
    const value = m.memory.entry(bits, 0);
    const act = (): void => m.memory.storeWide(word, value);
    m.later(who, { name: `guest_store at ${walker}/${address}`, word, value, act });
    return true;
  },
  waitsFor: (m, _who, [walker]) => `${m.walker(walker).name} to be in the guest`,
  describe: (m) => ({ comment: remarks.get(m) }),
});

/** One load of a 64-bit word by the guest (or device) `walker`, which is entered; null: it faulted. */
export function* guest_load(walker: number, address: number): Steps<Entry | null> {
  return yield* perform(guestLoadOp, [walker, address]);
}

/** One store of a 64-bit word by the guest (or device) `walker`; `false`: it faulted. */
export function* guest_store(walker: number, address: number, value: bigint): Steps<boolean> {
  return yield* perform(guestStoreOp, [walker, address, value]);
}
