import { READ } from './access.ts';
import { Missing, readAcross, type PhysicalMemory } from './memory.ts';
import { levelOf, stepFrom, walkFrom, type End, type Table, type Tables } from './tables.ts';

/** Regions whose leaf table, or one answer for all of it, is remembered. */
const MOST_KNOWN = 4096;

/**
 * The second stage as a guest sees it: its physical memory. Reading translates page by page. As in a
 * processor's walk caches, what was found above the leaf tables is remembered.
 */
export class SecondStage implements PhysicalMemory {
  readonly tables: Tables;
  /** By what a leaf table translates: that table, or how the walk ends before it. */
  private readonly known: Map<bigint, Table | End> = new Map();
  private readonly regionShift: bigint;

  constructor(tables: Tables) {
    this.tables = tables;
    this.regionShift = BigInt(levelOf(tables.kind, 1).shift);
  }

  translate(address: bigint): End {
    if (address >> BigInt(this.tables.kind.addressBits) !== 0n) return this.tooWide();
    const region = address >> this.regionShift;
    let known = this.known.get(region);
    if (known === undefined) {
      known = this.find(region << this.regionShift);
      // Starting over is as good as forgetting the oldest: guests use their memory in long runs.
      if (this.known.size >= MOST_KNOWN) this.known.clear();
      this.known.set(region, known);
    }
    if (!('kind' in known)) return walkFrom(this.tables, known, address);
    if (known.kind !== 'mapped') return known;
    return { ...known, physical: known.physical + (address - (region << this.regionShift)) };
  }

  read(address: bigint, bytes: number): DataView | Missing {
    return readAcross((at, rest) => this.piece(at, rest), address, bytes);
  }

  /** What `read` gives, as far as it is in one page of the second stage. */
  private piece(address: bigint, bytes: number): DataView | Missing {
    const end = this.translate(address);
    const guest = `guest-physical 0x${address.toString(16)}`;
    if (end.kind === 'missing') return end.missing;
    if (end.kind !== 'mapped') return new Missing(address, `${guest} is not mapped: ${end.why}`);
    if ((end.access & READ) === 0) return new Missing(address, `${guest} may not be read`);
    const size = 1n << BigInt(end.shift);
    const left = size - (address & (size - 1n));
    return this.tables.memory.read(end.physical, left < bytes ? Number(left) : bytes);
  }

  private find(address: bigint): Table | End {
    let table = this.tables.root;
    while (table.level > 0) {
      const next = stepFrom(this.tables, table, address, []);
      if ('kind' in next) return next;
      table = next;
    }
    return table;
  }

  private tooWide(): End {
    const { kind } = this.tables;
    const why = `it has more than the ${kind.addressBits} bits that ${kind.name} translates`;
    return { kind: 'absent', shift: kind.pageShift, why };
  }
}
