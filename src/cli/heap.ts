import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Of the heap's limit; the rest is for results and for what grows between two looks. */
const USABLE = 0.75;
const MIB = 1024 ** 2;
/** A forced collection of a large heap takes most of a second, so not oftener than this. */
const MS_BETWEEN_COLLECTIONS = 2000;

/** The memory limit if none was given. */
export function defaultMemoryLimit(): number {
  return Math.floor(getHeapStatistics().heap_size_limit * USABLE);
}

/** Least room between the limit and the end of the heap. */
const HEADROOM = 256 * MIB;

/** The heap that a worker needs so that a search may use `limit` bytes. */
export function heapMegabytesFor(limit: number): number {
  return Math.ceil(Math.max(limit / USABLE, limit + HEADROOM) / MIB);
}

/**
 * Bytes that this thread uses. V8 lets garbage pile up when there is room, so a reading above `limit` only
 * counts if it is still there after a collection.
 */
export function heapMeter(limit: number, now: () => number): () => number {
  let live = 0;
  let collectedAt = -Infinity;
  return () => {
    const used = usedBytes();
    if (used <= limit) return used;
    if (now() - collectedAt < MS_BETWEEN_COLLECTIONS) return live;
    collectGarbage();
    collectedAt = now();
    live = usedBytes();
    return live;
  };
}

function usedBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}

/** `gc` exists only in contexts made after the flag was set. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('gc');
  if (typeof gc === 'function') gc();
}
