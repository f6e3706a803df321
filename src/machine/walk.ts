import type { ArchDescriptor } from './arch.ts';
import type { Machine } from './machine.ts';
import { PAGE_SIZE, lifeGeneration, type Entry, type Word } from './memory.ts';
import { levelAt } from './stages.ts';

/**
 * Table walks over the machine's memory, level by level, by the descriptor alone.
 *
 * A walk is a generator: who asks for the next step decides what happened meanwhile, and how an entry is
 * read (recorded, so that it joins a step's footprint, or not) is the caller's choice.
 */
export interface WalkStep {
  /** Level of the table that the entry was read from; 0 is the leaf table. */
  readonly level: number;
  /** Frame of that table. */
  readonly table: number;
  readonly word: Word;
  readonly entry: Entry;
}

/** Where the entry for `address` is in a table of `level`. */
export function indexAt(arch: ArchDescriptor, level: number, address: number): number {
  const { shift, bits } = levelAt(arch, level);
  return Math.floor(address / 2 ** shift) % 2 ** bits;
}

/** The word of entry `index` in the table in `frame`, as that frame is now. */
function entryWord(machine: Machine, frame: number, index: number): Word {
  const { cells, memory } = machine;
  const generation = lifeGeneration(cells.get(memory.info(frame).life)); // reuse empties the table
  return memory.at(frame * PAGE_SIZE + index * 8, generation);
}

/**
 * A plain walk from the table in `root` towards `address`: every entry it reads, the last one being a leaf or
 * one that leads nowhere. The reads are recorded.
 */
export function* walk(machine: Machine, root: number, address: number): Generator<WalkStep> {
  const { arch, memory } = machine;
  let table = root;
  for (let level = arch.levels.length - 1; level >= 0; level--) {
    const word = entryWord(machine, table, indexAt(arch, level, address));
    const entry = memory.loadWide(word);
    yield { level, table, word, entry };
    if (!entry.present || !entry.table) return;
    table = entry.frame;
  }
}

/** What a processor may keep of an entry that it walked through: of a leaf in its TLB, of a table besides. */
export interface Cacheable {
  readonly level: number;
  /** Address of the entry, and what it said. */
  readonly source: number;
  readonly bits: bigint;
  /** The page or table it leads to. */
  readonly frame: number;
  readonly isTable: boolean;
  /** First virtual address that the entry covers. */
  readonly base: number;
}

/** What may be kept of `bits`, the entry at `source` in a table whose first entry covers `tableBase`. */
export function cacheable(
  arch: ArchDescriptor,
  level: number,
  source: number,
  bits: bigint,
  tableBase: number,
): Cacheable {
  const { frame, table } = arch.decode(level, bits);
  const base = tableBase + ((source % PAGE_SIZE) >> 3) * 2 ** levelAt(arch, level).shift;
  return { level, source, bits, frame, isTable: table, base };
}

/**
 * A walk as hardware does it: what each step may leave in its caches. It ends at a leaf, or where there is
 * nothing to keep: entries that are not present are not cached.
 */
export function* hardwareWalk(
  machine: Machine,
  root: number,
  address: number,
): Generator<Cacheable> {
  let base = 0;
  for (const { level, word, entry } of walk(machine, root, address)) {
    if (!entry.present) return;
    const kept = cacheable(machine.arch, level, word.address, entry.bits, base);
    yield kept;
    base = kept.base;
  }
}
