import type { Machine } from '../../src/machine/machine.ts';
import type { Entry, Page, Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { storeOnDisk } from '../../src/machine/ops/disk.ts';
import { read_entry, write_entry } from '../../src/machine/ops/memory.ts';
import { keepStores } from '../../src/machine/user-stores.ts';
import type { Target } from './spec.ts';
import { HUGE, MARKS } from './two-levels.ts';

/** Huge pages, marks of hardware, and stores of user code that nobody may lose. */

/** What a target sets besides the frame. */
export function flagsOf(target: Target): bigint {
  if (target.to === 'none') return 0n;
  return (target.huge ? HUGE : 0n) | (target.marked ? MARKS : 0n);
}

/** Takes the accessed mark off, by a load and a store. */
export function* age(m: Machine, place: Word): Steps<Entry> {
  const entry = yield* read_entry(place);
  yield* write_entry(place, m.memory.entry(entry.bits & ~2n, entry.generation));
  return entry;
}

/** The pages are those of files, and what is stored through the root must be found there in the end. */
export function keep(m: Machine, root: number, pages: readonly Page[]): void {
  for (const page of pages) storeOnDisk(m, page);
  for (const address of [0, 2 ** 12, 2 ** 21]) keepStores(m, root, address);
}
