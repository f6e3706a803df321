import type { Machine } from './machine.ts';
import type { Page } from './memory.ts';

/**
 * Frames without a struct page: registers of devices, which are mapped as memory is. What pfn_to_page() makes of
 * such a frame is an address at which something else is, and a reference that is taken there is a wild write.
 */
function withoutOne({ objects }: Machine): Set<number> {
  let known = objects.get('no struct page') as Set<number> | undefined;
  if (!known) objects.set('no struct page', (known = new Set()));
  return known;
}

/** Before the first step. */
export function takeStructPage(machine: Machine, { frame }: Page): void {
  withoutOne(machine).add(frame);
}

export function hasStructPage(machine: Machine, { frame }: Page): boolean {
  return !withoutOne(machine).has(frame);
}
