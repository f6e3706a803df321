import type { Actor } from '../actor.ts';
import type { Machine } from '../machine.ts';
import {
  ALLOCATED,
  FOREIGN,
  FREE,
  PAGE_FIELDS,
  PENDING,
  lifeGeneration,
  lifeState,
  makeLife,
  type Page,
} from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { fn, leaf } from '../fn.ts';
import { hasStructPage } from '../struct-pages.ts';
import { lockedUnless } from './control.ts';
import type { Place } from './entry-store.ts';

/**
 * The page allocator.
 *
 * A fresh frame is named by who allocates and as his how-manieth, so unrelated allocations are independent.
 * Where freed frames exist, handing one of them out again is another outcome of the same step: always
 * recycling would hide "the compare fails", never recycling would hide the ABA problem.
 */

function recyclable(m: Machine): readonly number[] {
  m.cells.get(m.memory.freeCount);
  return m.memory.sets.at(m.cells.peek(m.memory.freeSet));
}

function takeFromPool(m: Machine, frame: number): void {
  const { cells, memory } = m;
  cells.set(memory.freeCount, cells.get(memory.freeCount) - 1);
  const rest = memory.sets.at(cells.peek(memory.freeSet)).filter((other) => other !== frame);
  cells.poke(memory.freeSet, memory.sets.id(rest));
}

/** Names of the frames that were allocated for page tables, in any run so far: for reports. */
export function allocatedTables({ objects }: Machine): Set<string> {
  const known = objects.get('allocated tables') as Set<string> | undefined;
  const names = known ?? new Set<string>();
  if (!known) objects.set('allocated tables', names);
  return names;
}

function handOut(m: Machine, frame: number, state: number, level: number): Page {
  const { cells, memory } = m;
  const info = memory.info(frame);
  if (level >= 0) allocatedTables(m).add(info.name);
  const generation = lifeGeneration(cells.get(info.life)) + 1;
  cells.set(info.life, makeLife(generation, state));
  cells.poke(info.level, level);
  memory.store(info.refcount, 1);
  for (const field of PAGE_FIELDS) memory.store(info.fields[field], 0);
  return memory.page(frame, generation);
}

interface AllocationArgs {
  readonly what: string;
  readonly level: number;
  readonly recycle: boolean;
}

const allocateOp = defineOp('alloc_page', {
  ordering: 'full', // the lock of the per-CPU lists
  learns: 'nothing',
  outcomes: (m, _who, [, , recycle]: [string, number, boolean]) =>
    recycle ? 1 + recyclable(m).length : 1,
  exec: (m, who, [what, level]) => {
    if (m.outcome > 0) {
      const frame = recyclable(m)[m.outcome - 1] as number;
      takeFromPool(m, frame);
      return handOut(m, frame, ALLOCATED, level);
    }
    const counter = m.cellsOf(who.index).allocated;
    const ordinal = m.cells.peek(counter);
    m.cells.poke(counter, ordinal + 1);
    const name = `${what}${ordinal === 0 ? '' : ordinal + 1}@${m.nameOf(who)}`;
    return handOut(m, m.memory.frame(name).index, ALLOCATED, level);
  },
  describe: (m, _who, _args, value) => ({
    comment: `-> ${m.memory.info((value as Page).frame).name}`,
  }),
});

/**
 * A zeroed page frame. `what` names it in diagrams; `level` is the page-table level it will hold, -1 for
 * none; `recycle`: it may be any frame freed before.
 */
export function* allocate_frame({ what, level, recycle }: AllocationArgs): Steps<Page> {
  return yield* perform(allocateOp, [what, level, recycle]);
}

const freeOp = defineOp('free_page', {
  ordering: 'full', // the last reference, and the lock of the per-CPU lists
  exec: (m, who, [given, asItIs]: [Page, boolean]) => {
    freePage(m, who, asItIs ? present(m, given) : given);
    return undefined;
  },
  describe: (m, _who, [page]) => ({ comment: `${m.memory.info(page.frame).name} freed` }),
});

/** Returns a frame to the pool, unless a sanitizer finds that it must not. */
export function freePage(m: Machine, who: Actor, page: Page): void {
  let allowed = true;
  for (const sanitizer of m.sanitizers) {
    if (sanitizer.free?.(m, who, page.frame, page.generation) === false) allowed = false;
  }
  if (allowed) returnToPool(m, who, page);
}

function returnToPool(m: Machine, who: Actor, page: Page): void {
  const { cells, memory } = m;
  const info = memory.info(page.frame);
  cells.set(info.life, makeLife(lifeGeneration(cells.get(info.life)), FREE));
  cells.poke(info.freedBy, who.index + 1);
  memory.store(info.refcount, 0);
  cells.add(memory.freeCount, 1); // frees commute: the pool is a set
  const pool = memory.sets.at(cells.peek(memory.freeSet));
  cells.poke(memory.freeSet, memory.sets.id(memory.byName([...pool, page.frame])));
}

/** What the frame is by now. */
function present(m: Machine, { frame }: Page): Page {
  return m.memory.page(frame, lifeGeneration(m.cells.get(m.memory.info(frame).life)));
}

/** Gives a frame back to the allocator. */
export function* free_frame(page: Page): Steps<void> {
  yield* perform(freeOp, [page, false]);
}

/**
 * Gives a frame back whose last reference is gone. A struct page is whatever the frame is by now: who took a
 * speculative reference and drops it last frees the page that it has become.
 */
export function* free_unreferenced(page: Page): Steps<void> {
  yield* perform(freeOp, [page, true]);
}

type GetArgs = [page: Page, unlessZero: boolean, claim: MappingClaim | null];

const getRefOp = defineOp('page_ref_get', {
  ordering: 'guarded', // atomic_add_unless(): of a page that nobody holds, a load
  learns: 'sign',
  guard: (read, m, who, [page, unlessZero]: GetArgs) =>
    lockedUnless(read, m, who, m.memory.info(page.frame).refcount, (count) => {
      return unlessZero && count <= 0;
    }),
  exec: (m, who, [page, unlessZero, claim]: GetArgs) => {
    const { refcount } = m.memory.info(page.frame);
    if (!hasStructPage(m, page)) return refuseCount(m, who, page, 'takes a reference on', WILD);
    const count = m.load(who, refcount);
    if (unlessZero && count <= 0) return false;
    m.memory.store(refcount, count + 1);
    if (!claim) return true;
    const taken = present(m, page); // the frame may have become another page since the entry was read
    for (const sanitizer of m.sanitizers) sanitizer.claim?.(m, who, taken, claim);
    return true;
  },
  tells: ([, unlessZero], count) => !unlessZero || count > 0,
  describe: (m, _who, [page], value) => ({
    comment: value === true ? `+1 ref on ${m.memory.info(page.frame).name}` : 'refcount is 0',
  }),
});

/** "This page is what (root, address) maps": what a lockless lookup asserts by returning the page. */
export interface MappingClaim {
  readonly root: number;
  readonly address: number;
  /** The reference becomes a pin (FOLL_PIN). */
  readonly pin?: boolean;
}

/**
 * Takes a reference on a page; with `unlessZero`, only on one that somebody still holds. A struct page is
 * never freed, so this follows no pointer that could dangle: the page may be another one by now. `claim`
 * opens the interval in which the page must have been mapped (see the sanitizer `wrong-page`).
 */
export function* page_ref_get(
  page: Page,
  unlessZero: boolean,
  claim: MappingClaim | null,
): Steps<boolean> {
  return yield* perform(getRefOp, [page, unlessZero, claim]);
}

const WILD = 'which has no struct page';

function references(count: number): string {
  return count === 1 ? 'a reference' : `${count} references`;
}

/** Says that a count would mean nothing after this step. */
function refuseCount(m: Machine, who: Actor, page: Page, does: string, but: string): false {
  const { name } = m.memory.info(page.frame);
  m.violate({
    kind: 'refcount',
    actor: who.name,
    object: name,
    message: `${who.name} ${does} ${name}, ${but}.`,
    stops: true,
  });
  return false;
}

const putRefOp = defineOp('page_ref_put', {
  ordering: 'full',
  learns: 'sign',
  exec: (m, who, [page, refs]: [Page, number]) => {
    const { refcount } = m.memory.info(page.frame);
    if (!hasStructPage(m, page)) return refuseCount(m, who, page, 'drops a reference on', WILD);
    const before = m.memory.load(refcount);
    if (before < refs) {
      const few = before === 0 ? 'which has none' : `which has only ${before}`;
      return refuseCount(m, who, page, `drops ${references(refs)} on`, few);
    }
    m.memory.store(refcount, before - refs);
    return before === refs;
  },
  tells: ([, refs], count) => count === refs,
  describe: (m, _who, [page], value) => ({
    comment: value === true ? `last ref on ${m.memory.info(page.frame).name}` : undefined,
  }),
});

/** Drops references; `true` if there are no others. */
export function* page_ref_put(page: Page, refs = 1): Steps<boolean> {
  return yield* perform(putRefOp, [page, refs]);
}

const freezeOp = defineOp('page_ref_freeze', {
  ordering: 'full', // atomic_cmpxchg()
  exec: (m, who, [page, expected]: [Page, number]) => {
    const { refcount } = m.memory.info(page.frame);
    if (m.memory.load(refcount) !== expected) return false;
    if (expected <= 0) return refuseCount(m, who, page, 'freezes', 'which nobody holds');
    m.memory.store(refcount, 0);
    return true;
  },
  tells: ([, expected], count) => count === expected,
  describe: (_m, _who, _args, value) => ({ comment: String(value) }),
});

/** Takes all references at once, if there are exactly those: from then on nobody can take one (I4). */
export function* page_ref_freeze(page: Page, expected: number): Steps<boolean> {
  return yield* perform(freezeOp, [page, expected]);
}

const unfreezeOp = defineOp('page_ref_unfreeze', {
  ordering: 'store', // atomic_set_release(): on x86 a plain store
  exec: (m, who, [page, refs]: [Page, number]) => {
    const { refcount } = m.memory.info(page.frame);
    if (m.load(who, refcount) !== 0) {
      return refuseCount(m, who, page, 'unfreezes', 'of which somebody has taken a reference');
    }
    m.store(who, refcount, refs);
    return true;
  },
});

/** Gives back what freezing took. */
export function* page_ref_unfreeze(page: Page, refs: number): Steps<void> {
  yield* perform(unfreezeOp, [page, refs]);
}

const suspendOp = defineOp('entry_suspended', {
  ordering: 'none',
  exec: (m, who, [place]: [Place]) => {
    const { address } = m.memory.resolve(place);
    for (const sanitizer of m.sanitizers) sanitizer.suspended?.(m, who, address);
    return undefined;
  },
  ghost: true,
});

/**
 * A check: the entry at `place` is about to be cleared only for a while. Either it comes back, and what it led to
 * was mapped all the time, or another takes its place.
 */
export function* entry_suspended(place: Place): Steps<void> {
  yield* perform(suspendOp, [place]);
}

const discardOp = defineOp('contents_discarded', {
  ordering: 'none',
  exec: (m, who, [page]: [Page]) => {
    for (const sanitizer of m.sanitizers) sanitizer.discarded?.(m, who, page);
    return undefined;
  },
  describe: (m, _who, [page]) => ({
    comment: `what ${m.memory.info(page.frame).name} holds is thrown away`,
  }),
  ghost: true,
});

/** A check: the kernel keeps no copy of what the page holds, because there is one elsewhere or nobody wants it. */
export function* contents_discarded(page: Page): Steps<void> {
  yield* perform(discardOp, [page]);
}

const settleOp = defineOp('settle_claim', {
  ordering: 'none',
  exec: (m, who, [page]: [Page | null]) => {
    let claimed: Page | undefined;
    for (const sanitizer of m.sanitizers) claimed ??= sanitizer.settle?.(m, who, page);
    return claimed ?? page;
  },
  describe: (m, _who, [page]) => ({
    comment: page ? `${m.memory.info(page.frame).name} is returned` : 'nothing is returned',
  }),
  ghost: true,
});

/**
 * A check: the lookup returns `page` (or nothing), so its claim must have held at some instant. If it did, the
 * page is the one that was mapped then, although the entry may have been read when the frame was another.
 */
export function* settle_claim(page: Page | null): Steps<Page | null> {
  return yield* perform(settleOp, [page]);
}

const pendingOp = defineOp('mark_pending', {
  ordering: 'none',
  exec: (m, _who, [page]: [Page]) => {
    markPending(m, page);
    return undefined;
  },
  ghost: true,
});

/** Records that a frame waits for a grace period; for predicates and diagrams. */
export function markPending(m: Machine, page: Page): void {
  const { life } = m.memory.info(page.frame);
  const now = m.cells.get(life);
  if (lifeGeneration(now) === page.generation && lifeState(now) === ALLOCATED) {
    m.cells.set(life, makeLife(page.generation, PENDING));
  }
}

export function* mark_pending(page: Page): Steps<void> {
  yield* perform(pendingOp, [page]);
}

const foreignOp = defineOp('foreign_alloc', {
  ordering: 'full',
  guard: (read, m) => read.get(m.memory.freeCount) > 0,
  outcomes: (m) => recyclable(m).length,
  exec: (m) => {
    const frame = recyclable(m)[m.outcome] as number;
    takeFromPool(m, frame);
    return handOut(m, frame, FOREIGN, -1);
  },
  describe: (m, _who, _args, value) => ({
    event: `${m.memory.info((value as Page).frame).name} is handed to another process`,
  }),
});

const takeForeign = leaf(function* foreign_alloc(): Steps<Page> {
  return yield* perform(foreignOp, []);
});

/** An owner outside the scenario that takes up to `count` freed frames, whenever there are any. */
export const foreign_owner = fn(
  function* foreign_owner(count: number): Steps<void> {
    for (let taken = 0; taken < count; taken++) yield* takeForeign();
  },
  { hidden: true },
);
