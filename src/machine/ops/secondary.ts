import type { Walker } from '../cpu.ts';
import type { Machine } from '../machine.ts';
import { PAGE_SIZE, type Page } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { levelAt } from '../stages.ts';
import { indexAt } from '../walk.ts';

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
  let { frame, generation } = table;
  for (;;) {
    const level = m.levelOf(frame);
    if (level < 0) return null; // freed meanwhile: other sanitizers' business
    const word = m.memory.at(frame * PAGE_SIZE + indexAt(m.arch, level, gpa) * 8, generation);
    const entry = m.memory.loadWide(word);
    if (!entry.present) return null;
    if (!entry.table) return `${word.name} maps ${m.memory.info(entry.frame).name}`;
    ({ frame, generation } = entry);
  }
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

type Range = readonly [root: Page, gfn: number, end: number, when: string];

const unmappedOp = defineOp('gfns_unmapped', {
  ordering: 'none',
  exec: (m, who, [root, gfn, end, when]: Range) => {
    const stage = levelStage(m, root);
    for (let at = gfn; at < end; at++) {
      const [from, to] = [at * PAGE_SIZE, (at + 1) * PAGE_SIZE];
      const walkers = m.walkers.filter((walker) => walker.stage === stage);
      const cached = walkers.map((walker) => cachedIn(m, walker, from, to));
      const wrong = leafAt(m, root, from) ?? cached.find((text) => text !== null);
      if (wrong) violate(m, who.name, `gfn ${at}`, `${wrong} when ${when}.`);
    }
    return undefined;
  },
  describe: (_m, _who, [, , , when]) => ({ comment: when }),
  ghost: true,
});

function levelStage(m: Machine, root: Page): number {
  return Math.floor(m.levelOf(root.frame) / 16);
}

function violate(m: Machine, actor: string, object: string, message: string): void {
  m.violate({ kind: 'property', actor, object, message, stops: false });
}

/** A check: no guest frame of [gfn, end) is mapped by the tables below `root`, nor cached where it can be used. */
export function* gfns_unmapped(root: Page, gfn: number, end: number, when: string): Steps<void> {
  yield* perform(unmappedOp, [root, gfn, end, when]);
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
