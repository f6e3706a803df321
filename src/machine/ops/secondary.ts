import type { Walker } from '../cpu.ts';
import type { Machine } from '../machine.ts';
import { PAGE_SIZE, type Page } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { entriesFor } from '../second-stages.ts';
import { levelAt, stageOf } from '../stages.ts';

/**
 * What a hypervisor's tables must fulfil, as checks: none of these is an operation of a protocol.
 *
 * S2 of the specification: between the return of invalidate_range_start() and the call of
 * invalidate_range_end() nothing translates to what the range maps. An entry that is there, or a translation
 * that a running guest can use, is a violation; one that no guest can use now is doomed, so that it has to be
 * invalidated before the guest runs again.
 */

/** Is the guest frame mapped by a leaf entry, in the tables below `table`? */
function leafAt(m: Machine, table: Page, gpa: number): string | null {
  for (const [word, entry] of entriesFor(m, (at) => m.memory.loadWide(at), table, gpa)) {
    if (!entry.table) return `${word.name} maps ${m.memory.info(entry.frame).name}`;
  }
  return null;
}

/** What a guest that runs may still translate in [start, end); what it cannot use now is doomed. */
function cachedIn(m: Machine, walker: Walker, start: number, end: number): string | null {
  let found: string | null = null;
  for (const t of m.translations.all(walker)) {
    const size = 2 ** levelAt(m.arch, t.level).shift;
    if (t.isTable || t.base >= end || t.base + size <= start) continue;
    if (!m.translations.usable(walker, t)) m.translations.doom(walker, t);
    else found ??= `${walker.name} may still translate to ${m.memory.info(t.frame).name}`;
  }
  return found;
}

/** Guest frames [start, end). */
export interface GfnRange {
  readonly start: number;
  readonly end: number;
}

type Unmapped = readonly [root: Page, gfns: (m: Machine) => readonly GfnRange[], when: string];

const unmappedOp = defineOp('gfns_unmapped', {
  ordering: 'none',
  exec: (m, who, [root, gfns, when]: Unmapped) => {
    const stage = stageOf(m.levelOf(root.frame));
    const walkers = m.walkers.filter((walker) => walker.stage === stage);
    for (const { start, end } of gfns(m)) {
      for (let at = start; at < end; at++) {
        const [from, to] = [at * PAGE_SIZE, (at + 1) * PAGE_SIZE];
        const cached = walkers.map((walker) => cachedIn(m, walker, from, to));
        const wrong = leafAt(m, root, from) ?? cached.find((text) => text !== null);
        if (wrong) violate(m, who.name, `gfn ${at}`, `${wrong} when ${when}.`);
      }
    }
    return undefined;
  },
  describe: (_m, _who, [, , when]) => ({ comment: when }),
  ghost: true,
});

function violate(m: Machine, actor: string, object: string, message: string): void {
  m.violate({ kind: 'property', actor, object, message, stops: false });
}

/**
 * A check: none of the guest frames is mapped by the tables below `root`, nor cached where it can be used. Which
 * frames these are may depend on what memory says at that moment.
 */
export function* gfns_unmapped(
  root: Page,
  gfns: (m: Machine) => readonly GfnRange[],
  when: string,
): Steps<void> {
  yield* perform(unmappedOp, [root, gfns, when]);
}

const bugOp = defineOp('bug_on', {
  ordering: 'none',
  exec: (m, who, [object, message]: [string, string]) => {
    violate(m, who.name, object, message);
    return undefined;
  },
  describe: () => ({ comment: 'BUG_ON()' }),
  ghost: true,
});

/** A check of the kernel's own: what must never be is so. */
export function* bug_on(condition: boolean, object: string, message: string): Steps<void> {
  if (condition) yield* perform(bugOp, [object, message]);
}

const ownedOp = defineOp('page_is_owned', {
  ordering: 'none',
  exec: (m, who, [page, what]: [Page, string]) =>
    m.dereference(who, page.frame, page.generation, what),
  describe: (_m, _who, [, what]) => ({ comment: `uses ${what}` }),
  ghost: true,
});

/**
 * A check: whoever writes to a struct page must know that the page is what it was. A struct page is never freed,
 * but behind the last reference it says something about somebody else's page.
 */
export function* page_is_owned(page: Page, what: string): Steps<void> {
  yield* perform(ownedOp, [page, what]);
}
