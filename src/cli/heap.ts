import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Of the heap's limit; the rest is for results and for what grows between two looks. */
const USABLE = 0.75;
const MIB = 1024 ** 2;
/** Forced collections may take this part of the time. */
const COLLECTING = 0.1;

/** What V8 counts as heap but keeps for young objects: a search fills the old generation. */
const YOUNG = 64 * MIB;

/** The memory limit if none was given. */
export function defaultMemoryLimit(): number {
  return Math.floor(Math.max(YOUNG, getHeapStatistics().heap_size_limit - YOUNG) * USABLE);
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
  let next = -Infinity;
  return () => {
    const used = usedBytes();
    if (used <= limit) return used;
    const began = now();
    if (began < next) return live;
    collectGarbage();
    next = now() + (now() - began) / COLLECTING;
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
