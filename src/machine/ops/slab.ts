import { GracewalkError } from '../../base/errors.ts';
import type { Actor } from '../actor.ts';
import type { Cell } from '../cells.ts';
import type { Machine } from '../machine.ts';
import {
  ALLOCATED,
  FREE,
  PAGE_SIZE,
  lifeGeneration,
  lifeState,
  makeLife,
  type Page,
  type Word,
} from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { freePage, markPending } from './pages.ts';

/**
 * Objects that are smaller than a page, and the pages (slabs) that they are cut from.
 *
 * An object has a life of its own, like a frame: freeing it makes every pointer to it dangle, and handing
 * its memory out again is another life with the old contents. A *type-stable* cache differs in this alone:
 * its objects live as long as their slab, so a pointer to a freed one still leads to an object of the type.
 *
 * Freed objects are handed out again as freed frames are: each is an outcome of an allocation, and so is an
 * object of a new slab. A slab whose last object is freed may be kept or given back; that is an outcome too.
 */
export interface SlabLayout {
  readonly name: string;
  readonly fields: readonly string[];
  /** Objects per slab. */
  readonly objects: number;
  readonly typeStable: boolean;
  /** Handles, by frame and generation: equal ones are the same object. */
  readonly handles: Map<string, SlabObject>;
}

/** A pointer to an object, with the words of its fields under their names. Interned and frozen. */
export type SlabObject<F extends string = never> = Readonly<Record<F, Word>> & {
  readonly frame: number;
  readonly generation: number;
};

interface Pool {
  /** How many objects are free, and (satellite) which: their frames. */
  readonly count: Cell;
  readonly set: Cell;
}

function poolOf(m: Machine, cache: SlabLayout): Pool {
  let pools = m.objects.get('slab pools') as Map<SlabLayout, Pool> | undefined;
  if (!pools) m.objects.set('slab pools', (pools = new Map()));
  let pool = pools.get(cache);
  if (!pool) {
    pool = { count: m.cells.allocate(), set: m.cells.allocate(m.memory.sets.id([])) };
    pools.set(cache, pool);
  }
  return pool;
}

function freeObjects(m: Machine, cache: SlabLayout): readonly number[] {
  const { count, set } = poolOf(m, cache);
  m.cells.get(count);
  return m.memory.sets.at(m.cells.peek(set));
}

function setFree(m: Machine, cache: SlabLayout, frames: readonly number[]): void {
  const { count, set } = poolOf(m, cache);
  m.cells.set(count, frames.length);
  m.cells.poke(set, m.memory.sets.id(m.memory.byName(frames)));
}

/** Which slab each object lies in, and the objects of each slab. Never changes. */
interface Slabs {
  readonly slabOf: Map<number, number>;
  readonly objectsOf: Map<number, readonly number[]>;
}

function slabsOf(m: Machine): Slabs {
  let slabs = m.objects.get('slabs') as Slabs | undefined;
  if (!slabs) m.objects.set('slabs', (slabs = { slabOf: new Map(), objectsOf: new Map() }));
  return slabs;
}

/** The frames of the objects in a slab. `objects@CPU1` lie in `objects-slab@CPU1`. */
function objectsIn(m: Machine, cache: SlabLayout, slab: number): readonly number[] {
  const { slabOf, objectsOf } = slabsOf(m);
  const known = objectsOf.get(slab);
  if (known) return known;
  const name = m.memory.info(slab).name.replace('-slab', '');
  const frames = Array.from({ length: cache.objects }, (_, at) => {
    const { index } = m.memory.frame(at === 0 ? name : `${name}.${at}`);
    slabOf.set(index, slab);
    return index;
  });
  objectsOf.set(slab, frames);
  return frames;
}

/** 1 while an object is allocated: in a type-stable cache its life does not say so. */
function inUse(m: Machine, frame: number): Cell {
  const key = `slab object:${frame}`;
  let cell = m.objects.get(key) as Cell | undefined;
  if (cell === undefined) m.objects.set(key, (cell = m.cells.allocate()));
  return cell;
}

function handle(m: Machine, cache: SlabLayout, frame: number): SlabObject {
  const { life, name } = m.memory.info(frame);
  const generation = lifeGeneration(m.cells.peek(life));
  const key = `${frame}/${generation}`;
  let object = cache.handles.get(key);
  if (!object) {
    const fields = cache.fields.map((field, at): [string, Word] => [
      field,
      m.memory.at(frame * PAGE_SIZE + at * 8, generation, `${name}->${field}`),
    ]);
    object = Object.freeze({ frame, generation, ...Object.fromEntries(fields) });
    cache.handles.set(key, object);
  }
  return object;
}

/** Begins another life of an object. What it holds stays: its memory is only taken, not cleaned. */
function revive(m: Machine, frame: number): void {
  const { cells, memory } = m;
  const { life } = memory.info(frame);
  const before = lifeGeneration(cells.get(life));
  cells.set(life, makeLife(before + 1, ALLOCATED));
  for (const address of memory.wordsOf(frame)) {
    const { epoch } = memory.at(address, before + 1);
    if (cells.get(epoch) === before) cells.set(epoch, before + 1);
  }
}

function end(m: Machine, who: Actor, frame: number): void {
  const { life, freedBy } = m.memory.info(frame);
  m.cells.set(life, makeLife(lifeGeneration(m.cells.get(life)), FREE));
  m.cells.poke(freedBy, who.index + 1);
}

const takeOp = defineOp('slab_alloc', {
  ordering: 'none', // this_cpu_cmpxchg() has no LOCK prefix
  outcomes: (m, _who, [cache]: [SlabLayout]) => 1 + freeObjects(m, cache).length,
  exec: (m, _who, [cache]): SlabObject | null => {
    if (m.outcome === 0) return null;
    const free = freeObjects(m, cache);
    const frame = free[m.outcome - 1] as number;
    setFree(m, cache, free.toSpliced(m.outcome - 1, 1));
    m.cells.set(inUse(m, frame), 1);
    if (!cache.typeStable) revive(m, frame);
    return handle(m, cache, frame);
  },
  describe: (m, _who, _args, value) => ({
    comment: value === null ? 'none' : `${m.memory.info((value as SlabObject).frame).name} again`,
  }),
});

/** A free object of the cache, or null: a new slab is needed. */
export function* take_object(cache: SlabLayout): Steps<SlabObject | null> {
  return yield* perform(takeOp, [cache]);
}

const cutOp = defineOp('setup_slab', {
  ordering: 'none',
  exec: (m, _who, [cache, slab]: [SlabLayout, Page]): readonly SlabObject[] => {
    m.memory.store(m.memory.info(slab.frame).refcount, 0); // a slab is held by its cache, not by references
    const objects = objectsIn(m, cache, slab.frame).map((frame) => {
      revive(m, frame);
      m.cells.set(inUse(m, frame), 1);
      return handle(m, cache, frame);
    });
    return internList(m, objects);
  },
  ghost: true,
});

function internList(m: Machine, objects: readonly SlabObject[]): readonly SlabObject[] {
  const key = `slab list:${objects.map(({ frame, generation }) => `${frame}/${generation}`).join()}`;
  const known = m.objects.get(key) as readonly SlabObject[] | undefined;
  if (!known) m.objects.set(key, Object.freeze(objects));
  return known ?? objects;
}

/** Cuts a page into objects, none of them free yet. */
export function* cut_slab(cache: SlabLayout, slab: Page): Steps<readonly SlabObject[]> {
  return yield* perform(cutOp, [cache, slab]);
}

const addOp = defineOp('add_objects', {
  ordering: 'none',
  exec: (m, who, [cache, objects]: [SlabLayout, readonly SlabObject[]]) => {
    for (const { frame } of objects) {
      m.cells.set(inUse(m, frame), 0);
      if (!cache.typeStable) end(m, who, frame);
    }
    setFree(m, cache, [...freeObjects(m, cache), ...objects.map(({ frame }) => frame)]);
    return undefined;
  },
  ghost: true,
});

/** Puts the objects of a new slab that its allocator does not need on the free list. */
export function* add_objects(cache: SlabLayout, objects: readonly SlabObject[]): Steps<void> {
  if (objects.length > 0) yield* perform(addOp, [cache, objects]);
}

/** Would the slab be empty if `frame` were free too? */
function lastOf(m: Machine, cache: SlabLayout, frame: number): boolean {
  const free = freeObjects(m, cache);
  const slab = slabsOf(m).slabOf.get(frame) as number;
  return objectsIn(m, cache, slab).every((other) => other === frame || free.includes(other));
}

function mayFree(m: Machine, who: Actor, cache: SlabLayout, object: SlabObject): boolean {
  const { frame, generation } = object;
  if (cache.typeStable && m.cells.get(inUse(m, frame)) === 0) {
    const { name } = m.memory.info(frame);
    m.violate({
      kind: 'double-free',
      actor: who.name,
      object: name,
      message: `${who.name} frees ${name}, which has been freed already.`,
      stops: true,
    });
    return false;
  }
  return m.sanitizers
    .map((sanitizer) => sanitizer.free?.(m, who, frame, generation) !== false)
    .every(Boolean);
}

const giveOp = defineOp('slab_free', {
  ordering: 'full', // __slab_free(): what another CPU may take goes on the slab's list by a locked instruction
  outcomes: (m, _who, [cache, { frame }]: [SlabLayout, SlabObject]) =>
    lastOf(m, cache, frame) ? 2 : 1,
  exec: (m, who, [cache, object]): Page | null => {
    if (!mayFree(m, who, cache, object)) return null;
    const { frame } = object;
    m.cells.poke(m.memory.info(frame).freedBy, who.index + 1);
    m.cells.set(inUse(m, frame), 0);
    if (!cache.typeStable) end(m, who, frame);
    const free = [...freeObjects(m, cache), frame];
    if (m.outcome === 0) {
      setFree(m, cache, free);
      return null;
    }
    const slab = slabsOf(m).slabOf.get(frame) as number;
    const going = objectsIn(m, cache, slab);
    setFree(
      m,
      cache,
      free.filter((other) => !going.includes(other)),
    );
    const life = m.cells.get(m.memory.info(slab).life);
    return m.memory.page(slab, lifeGeneration(life));
  },
  describe: (m, _who, [, { frame }], value) => {
    const { name } = m.memory.info(frame);
    return { comment: value === null ? `${name} freed` : `${name} freed, its slab is empty` };
  },
});

/** Frees an object. Returns its slab if that is empty now and goes back to the page allocator. */
export function* give_object(cache: SlabLayout, object: SlabObject): Steps<Page | null> {
  return yield* perform(giveOp, [cache, object]);
}

const freeSlabOp = defineOp('free_slab', {
  ordering: 'full',
  exec: (m, who, [cache, slab]: [SlabLayout, Page]) => {
    for (const frame of objectsIn(m, cache, slab.frame)) end(m, who, frame);
    freePage(m, who, slab);
    return undefined;
  },
  describe: (m, _who, [, slab]) => ({ comment: `${m.memory.info(slab.frame).name} freed` }),
});

/** Gives a slab's page back to the page allocator, and ends the lives of the objects in it. */
export function* free_slab_page(cache: SlabLayout, slab: Page): Steps<void> {
  yield* perform(freeSlabOp, [cache, slab]);
}

/** Records that an object waits for a grace period. */
export function markObjectPending(m: Machine, { frame, generation }: SlabObject): void {
  markPending(m, m.memory.page(frame, generation));
}

/** Records that a slab and what lies in it wait for a grace period. */
export function markSlabPending(m: Machine, cache: SlabLayout, slab: Page): void {
  markPending(m, slab);
  for (const frame of objectsIn(m, cache, slab.frame)) {
    const { life } = m.memory.info(frame);
    const now = m.cells.get(life);
    if (lifeState(now) === ALLOCATED) {
      markPending(m, m.memory.page(frame, lifeGeneration(now)));
    }
  }
}

/** An object that is allocated when the scenario begins, alone in its slab. */
export function initialObject(
  m: Machine,
  cache: SlabLayout,
  name: string,
  values: Readonly<Record<string, number>>,
): SlabObject {
  const { cells, memory } = m;
  if (memory.frameByName.has(name)) {
    throw new GracewalkError('E118', `there are two objects called ${name}`, {
      help: 'give each object and page a name of its own',
    });
  }
  const slab = memory.frame(`${name}-slab`).index;
  const frame = memory.frame(name).index;
  const { slabOf, objectsOf } = slabsOf(m);
  slabOf.set(frame, slab);
  objectsOf.set(slab, [frame]);
  for (const each of [slab, frame]) cells.values[memory.info(each).life] = makeLife(1, ALLOCATED);
  cells.values[inUse(m, frame)] = 1;
  const object = handle(m, cache, frame);
  for (const [field, value] of Object.entries(values)) {
    memory.store((object as SlabObject<string>)[field] as Word, value);
  }
  return object;
}
