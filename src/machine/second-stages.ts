import type { Machine } from './machine.ts';
import { ALLOCATED, PAGE_SIZE, lifeGeneration, lifeState } from './memory.ts';
import type { Entry, Page, Word } from './memory.ts';
import { stageOf } from './stages.ts';
import { indexAt } from './walk.ts';

/**
 * What a hypervisor's tables say, for checks: of the guest frames that a scenario has, in every tree that a guest
 * may be made to translate by. Which words these are depends on the scenario and not on what was looked at
 * before, so whoever reads them has the same footprint whatever was tried earlier.
 */

/** By kind of tables, the guest frames that may be mapped. */
function guestFrames(machine: Machine): Map<number, Set<number>> {
  let known = machine.objects.get('guest frames') as Map<number, Set<number>> | undefined;
  if (!known) machine.objects.set('guest frames', (known = new Map()));
  return known;
}

/** Guests whose tables are of kind `stage` have these frames. Before the first step. */
export function watchGuestFrames(machine: Machine, stage: number, gfns: Iterable<number>): void {
  const all = guestFrames(machine);
  all.set(stage, new Set([...(all.get(stage) ?? []), ...gfns]));
}

/** An entry, and where it is. */
export type Found = readonly [word: Word, entry: Entry];

/** How a check reads: recorded, in a step; or not, in a final state. */
export type ReadEntry = (word: Word) => Entry;

/** What the tables below `table` say of a guest's address: the present entries from there to the leaf. */
export function* entriesFor(
  machine: Machine,
  read: ReadEntry,
  table: Page,
  gpa: number,
): Generator<Found> {
  const { arch, memory } = machine;
  let { frame, generation } = table;
  for (;;) {
    const level = machine.levelOf(frame);
    if (level < 0) return; // freed meanwhile: other sanitizers' business
    const word = memory.at(frame * PAGE_SIZE + indexAt(arch, level, gpa) * 8, generation);
    const entry = read(word);
    if (!entry.present) return;
    yield [word, entry];
    if (!entry.table) return;
    ({ frame, generation } = entry);
  }
}

/** Every present entry that a root of a hypervisor's tables leads to. `life` reads that of a root. */
export function* secondStageEntries(
  machine: Machine,
  read: ReadEntry,
  life: (cell: number) => number,
): Generator<Found> {
  const all = guestFrames(machine);
  for (const root of (machine.objects.get('roots') as readonly number[] | undefined) ?? []) {
    const gfns = all.get(stageOf(machine.levelOf(root)));
    if (!gfns) continue;
    const now = life(machine.memory.info(root).life);
    if (lifeState(now) !== ALLOCATED) continue;
    const table = machine.memory.page(root, lifeGeneration(now));
    for (const gfn of gfns) yield* entriesFor(machine, read, table, gfn * PAGE_SIZE);
  }
}
