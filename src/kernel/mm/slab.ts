import { fn, leaf, type KernelFn } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Page, Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { read_entry, write_entry } from '../../machine/ops/memory.ts';
import { allocate_frame } from '../../machine/ops/pages.ts';
import {
  add_objects,
  cut_slab,
  free_slab_page,
  give_object,
  initialObject,
  markObjectPending,
  markSlabPending,
  take_object,
  type SlabLayout,
  type SlabObject,
} from '../../machine/ops/slab.ts';
import { call_rcu } from '../kernel/rcu.ts';

/**
 * Slab caches.
 *
 * Guarantee: kmem_cache_alloc() returns an object that nobody else has. Its memory is as the last owner left
 * it, or as the constructor made it if there was none: a constructor runs once for each object of a new
 * slab, not at each allocation.
 * With SLAB_TYPESAFE_BY_RCU, a pointer found inside a read-side section leads to an object of the cache until
 * the section ends. Mechanism: only the slab's page waits for a grace period. The object does not: it may be
 * freed and be another one before the reader looks. So a reader takes a reference only if there is one
 * (or the lock that the constructor initialised), then looks again whether it is the object that it wanted;
 * and whoever initialises an object publishes its reference count last.
 * Assumes: kmem_cache_free() is a full barrier. In the kernel only the way on which an object reaches another
 * CPU is one; a free that stays in this CPU's list has no LOCK prefix, and orders nothing for its caller.
 * Not provided: that the object stays what it was. That would be freeing each one through call_rcu().
 *
 * Follows linux v6.12 mm/slub.c and include/linux/slab.h (the comment on SLAB_TYPESAFE_BY_RCU).
 */
export interface KmemCache<F extends string = never> extends SlabLayout {
  /** Runs once for each object of a new slab. */
  readonly ctor: Constructor<F> | null;
}

// Declared as a method, so that a cache of any objects is a `KmemCache`.
type Constructor<F extends string> = { ctor(object: SlabObject<F>): Steps<void> }['ctor'];

export interface KmemCacheOptions<F extends string> {
  readonly SLAB_TYPESAFE_BY_RCU?: boolean;
  /** Objects per slab; 1 by default. */
  readonly objects?: number;
  readonly ctor?: Constructor<F>;
}

/** A cache of objects with these fields, which are 32-bit words. Nothing is allocated yet. */
export function kmem_cache_create<const F extends string>(
  name: string,
  fields: readonly F[],
  { SLAB_TYPESAFE_BY_RCU = false, objects = 1, ctor }: KmemCacheOptions<F> = {},
): KmemCache<F> {
  const handles = new Map<string, SlabObject>();
  return Object.freeze({
    name,
    fields: Object.freeze([...fields]),
    objects,
    typeStable: SLAB_TYPESAFE_BY_RCU,
    ctor: ctor ?? null,
    handles,
  });
}

/** An object that exists when the scenario begins; `values` of its fields, 0 where not said. */
export function new_object<F extends string>(
  machine: Machine,
  cache: KmemCache<F>,
  name: string,
  values: Partial<Record<F, number>>,
): SlabObject<F> {
  const initial = values as Readonly<Record<string, number>>;
  return initialObject(machine, cache, name, initial) as SlabObject<F>;
}

const get_freelist = leaf(function* get_freelist(cache: SlabLayout): Steps<SlabObject | null> {
  return yield* take_object(cache);
});

const alloc_slab_page = leaf(function* alloc_slab_page(cache: SlabLayout): Steps<Page> {
  return yield* allocate_frame({ what: `${cache.name}-slab`, level: -1, recycle: false });
});

/** A new slab, constructed; its first object goes to the caller. */
const new_slab = fn(function* new_slab(cache: KmemCache): Steps<SlabObject> {
  const slab = yield* alloc_slab_page(cache);
  const objects = yield* cut_slab(cache, slab);
  for (const object of objects) if (cache.ctor) yield* cache.ctor(object);
  yield* add_objects(cache, objects.slice(1));
  return objects[0] as SlabObject;
});

/** What is done to every object that is handed out: nothing. A constructor here would be wrong. */
export const slab_post_alloc_hook = fn(function* slab_post_alloc_hook(
  _cache: KmemCache,
  _object: SlabObject,
): Steps<void> {
  // Readers may be holding the object's lock or looking at its reference count.
});

/** An object that nobody else has: one that was freed before, or one of a new slab. */
export const kmem_cache_alloc: AllocFn = fn(function* kmem_cache_alloc(
  cache: KmemCache,
): Steps<SlabObject> {
  const object = (yield* get_freelist(cache)) ?? (yield* new_slab(cache));
  yield* slab_post_alloc_hook(cache, object);
  return object;
}) as AllocFn;

type AllocFn = (<F extends string>(cache: KmemCache<F>) => Steps<SlabObject<F>>) &
  KernelFn<[KmemCache], SlabObject>;

const do_slab_free = leaf(function* do_slab_free(
  cache: SlabLayout,
  object: SlabObject,
): Steps<Page | null> {
  return yield* give_object(cache, object);
});

/** Gives a slab's page back. From here on no pointer into it leads anywhere. */
export const __free_slab = leaf(function* __free_slab(cache: SlabLayout, slab: Page): Steps<void> {
  yield* free_slab_page(cache, slab);
});

const rcu_free_slab = fn(function* rcu_free_slab(cache: SlabLayout, slab: Page): Steps<void> {
  yield* __free_slab(cache, slab);
});

/** The page of a type-stable cache waits for the readers that may hold pointers into it. */
export const free_slab = fn(function* free_slab(cache: SlabLayout, slab: Page): Steps<void> {
  if (!cache.typeStable) yield* __free_slab(cache, slab);
  else {
    yield* call_rcu(rcu_free_slab, [cache, slab], (machine) => {
      markSlabPending(machine, cache, slab);
    });
  }
});

/** Frees an object; an empty slab may go back to the page allocator. */
export const kmem_cache_free = fn(function* kmem_cache_free(
  cache: SlabLayout,
  object: SlabObject,
): Steps<void> {
  const slab = yield* do_slab_free(cache, object);
  if (slab) yield* free_slab(cache, slab);
});

/** Frees an object after a grace period: what a cache without SLAB_TYPESAFE_BY_RCU needs. */
export const kfree_rcu = fn(function* kfree_rcu(
  cache: SlabLayout,
  object: SlabObject,
): Steps<void> {
  yield* call_rcu(kmem_cache_free, [cache, object], (machine) => {
    markObjectPending(machine, object);
  });
});

/** A pointer to an object of a cache, in memory that is never freed. */
export interface ObjectPointer<F extends string = never> {
  readonly word: Word;
  readonly cache: KmemCache<F>;
}

function bitsOf(object: SlabObject | null): { readonly bits: bigint; readonly generation: number } {
  return { bits: BigInt(object?.frame ?? 0), generation: object?.generation ?? 0 };
}

/** A pointer called `name` that leads to `object` when the scenario begins. */
export function new_pointer<F extends string>(
  { memory }: Machine,
  name: string,
  cache: KmemCache<F>,
  object: SlabObject<F> | null,
): ObjectPointer<F> {
  const word = memory.at(memory.reserve(8), 0, name);
  const { bits, generation } = bitsOf(object);
  memory.storeWide(word, memory.entry(bits, generation));
  return Object.freeze({ word, cache });
}

/** Loads a pointer once; what it leads to is seen at least as it was published. */
export const rcu_dereference: DereferenceFn = leaf(function* rcu_dereference(
  pointer: ObjectPointer,
): Steps<SlabObject | null> {
  const { bits, generation } = yield* read_entry(pointer.word);
  return pointer.cache.handles.get(`${bits}/${generation}`) ?? null;
}) as DereferenceFn;

type DereferenceFn = (<F extends string>(
  pointer: ObjectPointer<F>,
) => Steps<SlabObject<F> | null>) &
  KernelFn<[ObjectPointer], SlabObject | null>;

/** Publishes an object: a store that no earlier one may follow. */
export const rcu_assign_pointer = leaf(function* rcu_assign_pointer(
  pointer: ObjectPointer,
  object: SlabObject | null,
): Steps<void> {
  const nothing = { present: false, table: false, none: false, writable: false, frame: -1 };
  yield* write_entry(pointer.word, { ...bitsOf(object), ...nothing });
});
