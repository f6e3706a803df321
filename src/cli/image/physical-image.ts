import { Missing, readAcross, type PhysicalMemory } from '../../walk/memory.ts';
import type { FilePieces } from './file-pieces.ts';

/** Physical memory from `start` on that stands in the file from `offset` on. */
export interface Segment {
  readonly start: bigint;
  readonly bytes: bigint;
  readonly offset: number;
}

/** An image of physical memory in a file: one segment of a flat file, or those of a dump. */
export class PhysicalImage implements PhysicalMemory {
  readonly segments: readonly Segment[];
  private readonly pieces: FilePieces;
  private latest: Segment | undefined;

  constructor(pieces: FilePieces, segments: readonly Segment[]) {
    this.pieces = pieces;
    this.segments = withoutOverlaps(segments);
  }

  read(address: bigint, bytes: number): DataView | Missing {
    return readAcross((at, rest) => this.piece(at, rest), address, bytes);
  }

  /** What `read` gives, as far as it is in one segment. */
  private piece(address: bigint, bytes: number): DataView | Missing {
    const found = this.find(address);
    if (found === undefined) return new Missing(address, this.outside());
    const inside = address - found.start;
    const left = found.bytes - inside;
    const wanted = left < bytes ? Number(left) : bytes;
    const view = this.pieces.read(found.offset + Number(inside), wanted);
    if (view.byteLength > 0 || wanted === 0) return view;
    return new Missing(address, 'the file ends before it: it was cut off');
  }

  private outside(): string {
    const [first] = this.segments;
    const last = this.segments.at(-1);
    if (!first || !last) return 'the image holds no memory';
    const end = last.start + last.bytes - 1n;
    const all = `0x${first.start.toString(16)} to 0x${end.toString(16)}`;
    const several = this.segments.length > 1;
    return several
      ? `none of the ${this.segments.length} segments between ${all} holds it`
      : `the image holds ${all}`;
  }

  private find(address: bigint): Segment | undefined {
    if (this.latest && holds(this.latest, address)) return this.latest;
    let [low, high] = [0, this.segments.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const segment = this.segments[middle] as Segment;
      if (segment.start + segment.bytes <= address) low = middle + 1;
      else high = middle;
    }
    const found = this.segments[low];
    if (found === undefined || !holds(found, address)) return undefined;
    this.latest = found;
    return found;
  }
}

function holds({ start, bytes }: Segment, address: bigint): boolean {
  return address >= start && address < start + bytes;
}

/** In ascending order. Of memory that is in a dump more than once, the first in address order stands. */
function withoutOverlaps(segments: readonly Segment[]): Segment[] {
  const sorted = segments
    .filter(({ bytes }) => bytes > 0n)
    .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  const kept: Segment[] = [];
  let end = 0n;
  for (const { start, bytes, offset } of sorted) {
    const hidden = start < end ? end - start : 0n;
    if (hidden >= bytes) continue;
    kept.push({ start: start + hidden, bytes: bytes - hidden, offset: offset + Number(hidden) });
    end = start + bytes;
  }
  return kept;
}
