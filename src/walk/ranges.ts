import type { Access } from './access.ts';
import type { Mapping, Problem } from './mappings.ts';

/**
 * Which neighbours become one range: pages on neighbouring frames that allow the same (`tlb`), pages that
 * allow the same wherever they are (`mem`), or none. The names are those of QEMU's `info tlb` and `info mem`.
 */
export type Merge = 'tlb' | 'mem' | 'none';

export interface Range {
  readonly what: 'range';
  readonly start: bigint;
  /** One past the last address. */
  readonly end: bigint;
  /** Where `start` is mapped to, if the whole range is contiguous there. */
  readonly physical: bigint | null;
  /** log2 of the size of every page, if they have one. */
  readonly shift: number | null;
  readonly pages: number;
  readonly access: Access;
  readonly accessed: boolean | null;
  readonly dirty: boolean | null;
}

/** Mappings in ascending order, joined. Problems pass through at once. */
export function* merged(
  all: Iterable<Mapping | Problem>,
  merge: Merge,
): Generator<Range | Problem> {
  let open: Growing | null = null;
  for (const next of all) {
    if (next.what === 'problem') {
      yield next;
    } else if (open !== null && joins(open, next, merge)) {
      open.end = next.virtual + (1n << BigInt(next.shift));
      open.pages++;
    } else {
      if (open) yield open;
      open = rangeOf(next, merge);
    }
  }
  if (open) yield open;
}

type Growing = Range & { end: bigint; pages: number };

function rangeOf(it: Mapping, merge: Merge): Growing {
  const { virtual, physical, shift, access, accessed, dirty } = it;
  return {
    what: 'range',
    start: virtual,
    end: virtual + (1n << BigInt(shift)),
    physical: merge === 'mem' ? null : physical,
    shift: merge === 'mem' ? null : shift,
    pages: 1,
    access,
    accessed: merge === 'none' ? accessed : null,
    dirty: merge === 'none' ? dirty : null,
  };
}

function joins(open: Range, next: Mapping, merge: Merge): boolean {
  if (merge === 'none' || open.end !== next.virtual || open.access !== next.access) return false;
  if (open.physical === null) return true;
  return open.shift === next.shift && open.physical + (open.end - open.start) === next.physical;
}
